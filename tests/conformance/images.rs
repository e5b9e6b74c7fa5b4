//! Small images of one texture: stripes with noise; some bear a blot.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ImageFormat, Rgb, RgbImage};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const SIDE: u32 = 96;
const BLOT_SIDE: u32 = 28;

/// A PNG of the texture, different for each `seed`.
pub(crate) fn png(seed: u64, has_blot: bool) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut image = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let stripe = if (x + y) / 8 % 2 == 0 { 90 } else { 150 };
        Rgb([stripe, stripe + random.random_range(0..12), 110])
    });
    if has_blot {
        let (left, top) =
            (random.random_range(0..SIDE - BLOT_SIDE), random.random_range(0..SIDE - BLOT_SIDE));
        for (x, y) in (0..BLOT_SIDE).flat_map(|x| (0..BLOT_SIDE).map(move |y| (x, y))) {
            image.put_pixel(left + x, top + y, Rgb([230, 30, 20]));
        }
    }
    let mut encoded = Cursor::new(Vec::new());
    image.write_to(&mut encoded, ImageFormat::Png).unwrap();
    encoded.into_inner()
}

/// Writes `count` normal images into a new folder below `parent`.
pub(crate) fn normal_folder(parent: &Path, count: u64) -> PathBuf {
    let folder = parent.join("normal");
    std::fs::create_dir(&folder).unwrap();
    (0..count).for_each(|seed| std::fs::write(folder.join(format!("{seed}.png")), png(seed, false)).unwrap());
    folder
}
