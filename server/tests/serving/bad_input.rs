//! Images that cannot be used, and odd ones that can, through the real decoder and model.

use std::io::Cursor;

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma};
use inctrl_proto::v1::{Image, InlinePrompts, RawImage, image::Source};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::real::Official;
use crate::stage::{against, create, encoded, reason};

fn png(image: &DynamicImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn photograph() -> Vec<u8> {
    png(&DynamicImage::ImageRgb8(ImageBuffer::from_fn(64, 48, |x, y| {
        image::Rgb([(x * 4) as u8, (y * 5) as u8, 90])
    })))
}

/// A PNG whose header claims 40,000 x 40,000 pixels; nothing of them follows.
fn bomb() -> Vec<u8> {
    let mut bytes = png(&DynamicImage::new_rgb8(1, 1));
    for side in [16, 20] {
        bytes[side..side + 4].copy_from_slice(&40_000_u32.to_be_bytes());
    }
    let checksum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../model/tests/data/preprocess");
    std::fs::read(std::path::Path::new(folder).join(name)).unwrap()
}

#[tokio::test]
async fn images_that_cannot_be_used_are_refused_and_odd_ones_are_scored() {
    let official = Official::every().remove(0);
    let server = official.serve().await;
    let prompts =
        InlinePrompts { normal_images: vec![encoded(&photograph())], object_class: "nut".to_owned() };
    server.prompt_sets().await.create_prompt_set(create("nut", prompts)).await.unwrap();
    let mut detector = server.detector().await;

    let whole = photograph();
    let raw = |width, height, bytes: usize| Image {
        source: Some(Source::Raw(RawImage { width, height, rgb: vec![0; bytes].into() })),
    };
    let refused = [
        ("text", encoded(b"this is no image"), "UNSUPPORTED_IMAGE_FORMAT"),
        ("empty", encoded(b""), "IMAGE_DECODE_FAILED"),
        ("truncated", encoded(&whole[..whole.len() / 2]), "IMAGE_DECODE_FAILED"),
        ("40,000 x 40,000", encoded(&bomb()), "TOO_MANY_PIXELS"),
        ("raw of another length", raw(4, 4, 47), "IMAGE_DECODE_FAILED"),
        ("raw without height", raw(4, 0, 0), "INVALID_FIELD"),
        ("no source", Image { source: None }, "INVALID_FIELD"),
    ];
    for (what, image, expected) in refused {
        let status = detector.detect_anomaly(against("nut", image)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, expected),
            "{what}: {status:?}"
        );
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "image", "{what}");
    }

    let deep = ImageBuffer::from_fn(20, 20, |x, y| Luma([(x * y * 150) as u16]));
    let accepted = [
        ("1 x 1", png(&DynamicImage::new_rgb8(1, 1))),
        ("16 bits", png(&DynamicImage::ImageLuma16(deep))),
        ("animated GIF", fixture("animated.gif")),
        ("animated PNG", fixture("animated.png")),
        ("animated WebP", fixture("animated.webp")),
    ];
    for (what, bytes) in accepted {
        let answer = detector.detect_anomaly(against("nut", encoded(&bytes))).await;
        let score = answer.unwrap_or_else(|status| panic!("{what}: {status:?}")).into_inner().score;
        assert!((0.0..=1.0).contains(&score), "{what}: {score}");
    }
    server.stop().await;
}
