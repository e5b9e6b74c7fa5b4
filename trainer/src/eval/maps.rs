//! Anomaly maps brought to pixels, and masks brought to the same square.

use std::path::Path;

use inctrl_model::preprocess::Area;
use inctrl_model::{DecodedImage, Preprocess};

use super::error::EvalError;
use super::raw_pixels;
use crate::features::{FeatureError, LIMITS};

/// Two neighbours on a grid and the share of the second.
type Tap = (usize, usize, f32);

/// A map `rows x columns`, row-major, at `side x side` pixels: bilinear between the centres of the patches.
pub fn upsampled(map: &[f32], (rows, columns): (usize, usize), side: usize) -> Vec<f32> {
    let (down, across) = (taps(rows, side), taps(columns, side));
    let mut pixels = Vec::with_capacity(side * side);
    for &(above, below, vertical) in &down {
        for &(left, right, horizontal) in &across {
            let row = |row: usize| {
                let (first, second) = (map[row * columns + left], map[row * columns + right]);
                first + (second - first) * horizontal
            };
            let (upper, lower) = (row(above), row(below));
            pixels.push(upper + (lower - upper) * vertical);
        }
    }
    pixels
}

fn taps(patches: usize, side: usize) -> Vec<Tap> {
    let last = patches - 1;
    let tap = |pixel: usize| {
        let at = (pixel as f32 + 0.5) / side as f32 * patches as f32 - 0.5;
        let at = at.clamp(0.0, last as f32);
        let before = (at as usize).min(last);
        (before, (before + 1).min(last), at - before as f32)
    };
    (0..side).map(tap).collect()
}

/// The truth about a query in the square that the backbone examined, and which part of the square shows the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SquareMask {
    /// Side of the square.
    pub side: usize,
    /// Anomalous pixels, row-major.
    pub anomalous: Vec<bool>,
    /// Columns and rows that show the image: all of them, unless it is letterboxed.
    pub columns: std::ops::Range<usize>,
    /// Rows that show the image.
    pub rows: std::ops::Range<usize>,
}

impl SquareMask {
    /// Of an image and its mask; nothing is anomalous without one. A pixel of the square takes the nearest of the mask;
    /// not 0 is anomalous.
    pub fn read(
        image: &Path,
        mask: Option<&Path>,
        preprocess: &Preprocess,
        side: usize,
    ) -> Result<Self, EvalError> {
        let pixels = raw_pixels::load(image, preprocess)?;
        let inside = |start: f32, length: f32, limit: u32| {
            let centre = |pixel: &usize| source(*pixel, side, start, length);
            let within: Vec<usize> =
                (0..side).filter(|pixel| (0.0..limit as f32).contains(&centre(pixel))).collect();
            within.first().map_or(0..0, |first| *first..within.len() + first)
        };
        let Area { x, y, width, height } = pixels.examined;
        let columns = inside(x, width, pixels.source.0);
        let rows = inside(y, height, pixels.source.1);
        let mut anomalous = vec![false; side * side];
        if let Some(path) = mask {
            let mask = decode(path)?;
            let (mask_width, mask_height, rgb) = mask.to_rgb();
            if (mask_width, mask_height) != pixels.source {
                return Err(EvalError::MaskSize {
                    mask: path.to_owned(),
                    image: image.to_owned(),
                    mask_size: (mask_width, mask_height),
                    image_size: pixels.source,
                });
            }
            for row in rows.clone() {
                let from = source(row, side, y, height) as usize * mask_width as usize;
                for column in columns.clone() {
                    let pixel = from + source(column, side, x, width) as usize;
                    anomalous[row * side + column] =
                        rgb[3 * pixel..3 * pixel + 3].iter().any(|&value| value != 0);
                }
            }
        }
        Ok(Self { side, anomalous, columns, rows })
    }

    /// Values of a square that lie on the image.
    pub fn shown<T: Copy>(&self, square: &[T]) -> Vec<T> {
        let rows = self.rows.clone();
        rows.flat_map(|row| square[row * self.side..][self.columns.clone()].iter().copied()).collect()
    }
}

/// Where the centre of a pixel of the square lies in the source.
fn source(pixel: usize, side: usize, start: f32, length: f32) -> f32 {
    start + (pixel as f32 + 0.5) / side as f32 * length
}

fn decode(path: &Path) -> Result<DecodedImage, FeatureError> {
    let bytes =
        std::fs::read(path).map_err(|source| FeatureError::ReadImage { path: path.to_owned(), source })?;
    DecodedImage::decode(&bytes, &LIMITS)
        .map_err(|source| FeatureError::Image { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;

    #[test]
    fn patch_centres_keep_their_values_and_edges_reach_out() {
        let pixels = upsampled(&[0.0, 1.0, 2.0, 3.0], (2, 2), 4);
        // The pixel at 5 lies a quarter of the way right and a quarter down: 0.25 + 0.5.
        for (pixel, expected) in [(0, 0.0), (3, 1.0), (15, 3.0), (5, 0.75)] {
            assert_abs_diff_eq!(pixels[pixel], expected);
        }
        for value in upsampled(&[0.3], (1, 1), 3) {
            assert_abs_diff_eq!(value, 0.3);
        }
    }
}
