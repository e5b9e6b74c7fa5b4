//! Real images as data sets. The photographs here are drawn, so that the test needs none of the packages.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made fails its test")]

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{GrayImage, Luma};
use inctrl_trainer::data::{self, DatasetSpec, Format, Split};
use inctrl_trainer::exit::Exit;
use inctrl_trainer::photographs::{self, Args, PhotographsError};

fn files(folder: &Path) {
    for (number, name) in ["brick", "grass", "gravel"].into_iter().enumerate() {
        // The left half is dark, the right half bright, both with a pattern.
        let pixel = |x: u32, y: u32| {
            let pattern = (x * (5 + number as u32) + y * 3) % 40;
            Luma([if x < 256 { 40 } else { 180 } + pattern as u8])
        };
        GrayImage::from_fn(512, 512, pixel).save(folder.join(format!("{name}.png"))).unwrap();
    }
    let file = std::fs::File::create(folder.join("digits.csv.gz")).unwrap();
    let mut digits = GzEncoder::new(file, Compression::fast());
    for number in 0..100 {
        writeln!(digits, "{}{}", "8,".repeat(64), number % 10).unwrap();
    }
    digits.finish().unwrap();
}

fn args(from: &Path, out: &Path) -> Args {
    let (from, out) = (from.to_owned(), out.to_owned());
    Args { from, fashion_mnist: None, out, seed: 1, log: "info".to_owned() }
}

#[test]
fn prompts_come_from_the_left_half_queries_from_the_right_and_every_defect_has_a_mask() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let out = folder.path().join("out");
    photographs::run(&args(folder.path(), &out)).unwrap();
    let textures = data::open(&DatasetSpec::new(Format::Mvtec, out.join("textures"))).unwrap();
    assert_eq!(textures.by_category().into_keys().collect::<Vec<_>>(), ["brick", "grass", "gravel"]);
    for sample in &textures.samples {
        let window = image::open(&sample.path).unwrap().into_luma8();
        assert_eq!(window.dimensions(), (240, 240));
        let mean = window.pixels().map(|pixel| u64::from(pixel.0[0])).sum::<u64>() / (240 * 240);
        assert_eq!(mean > 120, sample.split == Split::Test, "{:?} shows the wrong half", sample.path);
        assert_eq!(sample.mask.is_some(), sample.is_anomalous());
    }
    let defects: std::collections::BTreeSet<_> =
        textures.samples.iter().filter_map(|sample| sample.defect.as_deref()).collect();
    assert_eq!(defects.len(), 6);
    let digits = data::open(&DatasetSpec::new(Format::Classes, out.join("digits"))).unwrap();
    assert_eq!(digits.by_category().len(), 10);
    assert!(digits.samples.iter().any(|sample| sample.split == Split::Train));
    assert!(digits.samples.iter().any(|sample| sample.split == Split::Test));
}

#[test]
fn a_missing_photograph_is_named_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    std::fs::remove_file(folder.path().join("grass.png")).unwrap();
    let out = folder.path().join("out");
    let failure = photographs::run(&args(folder.path(), &out)).unwrap_err();
    assert!(failure.to_string().contains("grass.png"), "{failure}");
    assert_eq!(failure.exit(), Exit::Failed);
    assert!(!out.exists());
}

#[test]
fn a_photograph_that_is_too_small_or_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let out = folder.path().join("out");
    GrayImage::new(300, 300).save(folder.path().join("brick.png")).unwrap();
    let failure = photographs::run(&args(folder.path(), &out)).unwrap_err();
    assert!(failure.to_string().contains("300 x 300"), "{failure}");
    std::fs::write(folder.path().join("brick.png"), "no image").unwrap();
    assert_eq!(photographs::run(&args(folder.path(), &out)).unwrap_err().exit(), Exit::BadData);
}

#[test]
fn a_folder_that_is_not_empty_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let refusal = photographs::run(&args(folder.path(), folder.path())).unwrap_err();
    assert!(matches!(refusal, PhotographsError::Taken { .. }));
    assert_eq!(refusal.exit(), Exit::Usage);
}
