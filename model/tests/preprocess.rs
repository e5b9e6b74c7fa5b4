//! Pre-processing against Pillow and torchvision, over every colour mode and container, and what is refused.
//!
//! The answers were written by `tests/oracles/preprocess.py`; those of the authors' own transform are in the parity
//! folder. Everything lossless must agree bit for bit; two JPEG decoders may differ by a few levels.
#![expect(clippy::unwrap_used, reason = "what a test cannot do must fail it")]

use std::path::{Path, PathBuf};

use image::RgbImage;
use inctrl_model::preprocess::Fit;
use inctrl_model::{DecodedImage, ImageError, ImageLimits, Pixels, Preprocess};
use proptest::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Levels of 0..=255 by which JPEG and lossy WebP decoders may differ after the resize.
const LOSSY_TOLERANCE: u8 = 4;
/// Mean of the same differences.
const LOSSY_MEAN_TOLERANCE: f64 = 0.5;

const LIMITS: ImageLimits = ImageLimits { max_bytes: 1 << 24, max_pixels: 1 << 24 };

#[derive(Deserialize)]
struct Listing {
    size: u32,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    file: String,
    /// Width, height after the EXIF rotation.
    source: (u32, u32),
    /// Width, height of the letterboxed part.
    letterbox: (u32, u32),
    rgb_sha256: String,
}

impl Case {
    fn is_lossless(&self) -> bool {
        let is_jpeg = Path::new(&self.file).extension().is_some_and(|extension| extension == "jpg");
        !is_jpeg && self.file != "lossy.webp"
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(data(&self.file)).unwrap()
    }
}

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/preprocess").join(file)
}

fn listing() -> Listing {
    serde_json::from_slice(&std::fs::read(data("cases.json")).unwrap()).unwrap()
}

/// Values stay levels of 0..=255.
fn levels(size: u32, fit: Fit) -> Preprocess {
    Preprocess { size, mean: [0.0; 3], std: [1.0 / 255.0; 3], fit }
}

/// `[3, size, size]` floats to interleaved levels.
fn interleaved(pixels: &Pixels) -> RgbImage {
    let (side, plane) = (pixels.size, (pixels.size * pixels.size) as usize);
    RgbImage::from_fn(side, side, |x, y| {
        let at = (y * side + x) as usize;
        image::Rgb(std::array::from_fn(|channel| pixels.values[channel * plane + at].round() as u8))
    })
}

/// Holds `actual` against the expected part at `left` of the answers' picture.
fn assert_close(actual: &RgbImage, expected: &RgbImage, left: u32, case: &Case, what: &str) {
    let (mut largest, mut sum) = (0, 0.0);
    for (x, y, pixel) in actual.enumerate_pixels() {
        for (&actual, &expected) in pixel.0.iter().zip(&expected.get_pixel(left + x, y).0) {
            largest = largest.max(actual.abs_diff(expected));
            sum += f64::from(actual.abs_diff(expected));
        }
    }
    let mean = sum / f64::from(actual.width() * actual.height() * 3);
    let (tolerance, mean_tolerance) =
        if case.is_lossless() { (0, 0.0) } else { (LOSSY_TOLERANCE, LOSSY_MEAN_TOLERANCE) };
    assert!(
        largest <= tolerance && mean <= mean_tolerance,
        "{what} of {} must equal Pillow's within {tolerance} levels; largest difference {largest}, mean {mean:.4}",
        case.file
    );
}

fn expected(case: &Case) -> RgbImage {
    image::open(data(&format!("{}.expected.png", case.file))).unwrap().into_rgb8()
}

#[test]
fn the_crop_equals_torchvision_in_every_mode() {
    let Listing { size, cases } = listing();
    for case in cases {
        let pixels = levels(size, Fit::Crop).load(&case.bytes(), &LIMITS).expect(&case.file);
        assert_eq!(pixels.source, case.source, "size of {}", case.file);
        assert_close(&interleaved(&pixels), &expected(&case), 0, &case, "crop");
    }
}

#[test]
fn the_letterbox_equals_pillow_in_every_mode() {
    let Listing { size, cases } = listing();
    for case in cases {
        let pixels = levels(size, Fit::Letterbox).load(&case.bytes(), &LIMITS).expect(&case.file);
        let square = interleaved(&pixels);
        let (width, height) = case.letterbox;
        let (left, top) = ((size - width) / 2, (size - height) / 2);
        let kept = image::imageops::crop_imm(&square, left, top, width, height).to_image();
        assert_close(&kept, &expected(&case), size, &case, "letterbox");
        let outside = square
            .enumerate_pixels()
            .filter(|&(x, y, _)| !(left..left + width).contains(&x) || !(top..top + height).contains(&y));
        assert!(outside.into_iter().all(|(_, _, pixel)| pixel.0 == [0; 3]), "{} must be padded", case.file);
    }
}

#[test]
fn the_conversion_to_rgb_equals_pillow() {
    for case in listing().cases.into_iter().filter(Case::is_lossless) {
        let (width, height, rgb) = DecodedImage::decode(&case.bytes(), &LIMITS).expect(&case.file).to_rgb();
        assert_eq!((width, height), case.source, "size of {}", case.file);
        let hex = |digest: String, byte: &u8| format!("{digest}{byte:02x}");
        let digest = Sha256::digest(&rgb).iter().fold(String::new(), hex);
        assert_eq!(digest, case.rgb_sha256, "RGB of {}", case.file);
    }
}

#[test]
fn sixteen_bit_grey_tells_how_much_of_it_is_clipped() {
    let share = |file: &str| {
        DecodedImage::decode(&std::fs::read(data(file)).unwrap(), &LIMITS).unwrap().clipped_share()
    };
    assert!(0.05 < share("i16-dark.png") && share("i16-dark.png") < 0.6, "some samples exceed 255");
    assert!(0.7 < share("i16.png"), "most samples exceed 255");
    assert_eq!(share("rgb16.png").to_bits(), 0.0_f32.to_bits(), "colours are scaled, not clipped");
}

#[test]
fn the_mirrored_copy_is_that_of_the_mirrored_image() {
    let (width, height) = (60, 50);
    let rgb: Vec<u8> = (0..width * height * 3).map(|index| (index * 7 % 251) as u8).collect();
    let mut mirrored = RgbImage::from_raw(width, height, rgb.clone()).unwrap();
    image::imageops::flip_horizontal_in_place(&mut mirrored);
    // 60 wide, 50 high: 28 of 57 columns at offset 4 (a half rounds to even); so take sizes whose offset is whole.
    let preprocess = Preprocess::clip(50);
    let of = |rgb| preprocess.apply(&DecodedImage::from_rgb(width, height, rgb).unwrap());
    assert_eq!(of(rgb).mirrored().values, of(mirrored.into_raw()).values);
}

/// The headers of a PNG file that says it is of this size, and ends there.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 2, 0, 0, 0]);
    let crc = crc32(&bytes[12..]);
    bytes.extend(crc.to_be_bytes());
    bytes.extend(*b"\0\0\x10\0IDAT");
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn a_huge_image_is_refused_by_its_header() {
    let error = DecodedImage::decode(&png_header(40_000, 40_000), &LIMITS).unwrap_err();
    assert!(
        matches!(error, ImageError::TooManyPixels { width: 40_000, height: 40_000, limit: 16_777_216 }),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "image is 40000 x 40000 pixels, the limit is 16777216 in all; scale it down or cut it into tiles"
    );
}

#[test]
fn a_strip_longer_than_any_camera_makes_is_refused() {
    let error = DecodedImage::decode(&png_header(70_000, 1), &LIMITS).unwrap_err();
    assert!(matches!(error, ImageError::TooLong { width: 70_000, height: 1, .. }), "{error:?}");
}

#[test]
fn a_huge_jpeg_is_refused_by_its_header() {
    let mut bytes = std::fs::read(data("rgb.jpg")).unwrap();
    let frame = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    bytes[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0x00, 0xFF, 0x00]);
    let error = DecodedImage::decode(&bytes, &LIMITS).unwrap_err();
    assert!(matches!(error, ImageError::TooManyPixels { width: 65_280, height: 65_280, .. }), "{error:?}");
}

#[test]
fn too_many_bytes_are_refused_unread() {
    let limits = ImageLimits { max_bytes: 10, ..LIMITS };
    let error = DecodedImage::decode(&[0; 11], &limits).unwrap_err();
    assert!(matches!(error, ImageError::TooManyBytes { actual: 11, limit: 10 }), "{error:?}");
}

#[test]
fn bytes_that_are_no_image_are_refused() {
    for bytes in [b"hello, world".as_slice(), b"<svg/>", &[0; 64]] {
        let error = DecodedImage::decode(bytes, &LIMITS).unwrap_err();
        assert!(matches!(error, ImageError::UnknownFormat), "{error:?}");
    }
    assert!(matches!(DecodedImage::decode(&[], &LIMITS).unwrap_err(), ImageError::Empty));
}

#[test]
fn an_image_without_pixels_is_refused() {
    assert!(matches!(DecodedImage::from_rgb(0, 4, vec![]), Err(ImageError::NoPixels { .. })));
    let error = DecodedImage::decode(&png_header(0, 3), &LIMITS).unwrap_err();
    assert!(matches!(error, ImageError::Undecodable { .. }), "{error:?}");
}

#[test]
fn raw_pixels_must_be_as_many_as_their_size_says() {
    let error = DecodedImage::from_rgb(2, 2, vec![0; 11]).unwrap_err();
    assert!(matches!(error, ImageError::WrongLength { expected: 12, actual: 11, .. }), "{error:?}");
}

#[test]
fn a_known_format_that_is_not_read_is_named() {
    let error = DecodedImage::decode(b"qoif\0\0\0\x01\0\0\0\x01\x03\0", &LIMITS).unwrap_err();
    assert!(error.to_string().contains("QOI"), "{error}");
}

#[test]
fn a_truncated_file_is_refused_in_every_format() {
    for file in
        ["rgb.png", "rgb.jpg", "rgb-progressive.jpg", "cmyk.jpg", "rgb.bmp", "rgb.tif", "rgb.webp", "p.gif"]
    {
        let bytes = std::fs::read(data(file)).unwrap();
        for share in [0.3, 0.6, 0.9] {
            let cut = &bytes[..(bytes.len() as f64 * share) as usize];
            let error = DecodedImage::decode(cut, &LIMITS).expect_err(&format!("{file} cut at {share}"));
            assert!(
                matches!(error, ImageError::Truncated { .. } | ImageError::Undecodable { .. }),
                "{file} cut at {share} must be called truncated or undecodable, is {error:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any size and fit: no panic, and the square holds only values that the image or the padding has.
    #[test]
    fn any_size_gives_a_square(width in 1_u32..400, height in 1_u32..400, size in 1_u32..70, letterbox: bool) {
        let fit = if letterbox { Fit::Letterbox } else { Fit::Crop };
        let image = DecodedImage::from_rgb(width, height, vec![255; (width * height * 3) as usize]).unwrap();
        let pixels = levels(size, fit).apply(&image);
        prop_assert_eq!(pixels.values.len(), 3 * (size * size) as usize);
        prop_assert!(pixels.values.iter().all(|value| (value - 255.0).abs() < 1e-3 || *value == 0.0));
        let seen = pixels.examined.within((width, height));
        prop_assert!(0.0 < seen.width && seen.width <= width as f32 && 0.0 < seen.height);
    }

    /// A damaged file is an error or an image, never a panic.
    #[test]
    fn damaged_files_never_panic(case in 0_usize..63, at in 0.0..1.0_f64, byte: u8, cut in 0.0..1.3_f64) {
        let mut bytes = listing().cases[case].bytes();
        let length = bytes.len() as f64;
        bytes[(length * at) as usize] = byte;
        bytes.truncate((length * cut) as usize);
        let limits = ImageLimits { max_bytes: 1 << 20, max_pixels: 1 << 18 };
        if let Ok(image) = DecodedImage::decode(&bytes, &limits) {
            let pixels = levels(16, Fit::Crop).apply(&image);
            prop_assert!(pixels.values.iter().all(|value| value.is_finite()));
        }
    }
}
