//! The raw-pixel baseline: distance to the nearest prompt image, both shrunk to 60 x 60.

use std::collections::BTreeMap;
use std::path::Path;

use inctrl_model::{Pixels, Preprocess};
use rayon::prelude::*;

use crate::data::Dataset;
use crate::features::{FeatureError, LIMITS};

/// Side of the shrunk image.
const SIDE: usize = 60;

/// Shrunk images by position in the data set: planar RGB in 0..=1.
#[derive(Debug, Default)]
pub(super) struct RawPixels(BTreeMap<usize, Vec<f32>>);

impl RawPixels {
    /// Decodes the images `wanted` of `dataset` as the backbone would see them, and shrinks them.
    pub(super) fn read(
        dataset: &Dataset,
        wanted: &[usize],
        preprocess: &Preprocess,
    ) -> Result<Self, FeatureError> {
        let shrink = |&image: &usize| {
            let pixels = load(&dataset.samples[image].path, preprocess)?;
            Ok((image, shrunk(&pixels, preprocess)))
        };
        let images: Result<BTreeMap<usize, Vec<f32>>, FeatureError> = wanted.par_iter().map(shrink).collect();
        images.map(Self)
    }

    /// Root mean square difference of `query` to the nearest of `prompts` (positions that were read; at least one).
    pub(super) fn distance(&self, query: usize, prompts: &[usize]) -> f32 {
        let of_query = &self.0[&query];
        let to = |prompt: &usize| {
            let pairs = of_query.iter().zip(&self.0[prompt]);
            let squares: f64 = pairs.map(|(one, other)| f64::from((one - other).powi(2))).sum();
            (squares / of_query.len() as f64).sqrt() as f32
        };
        prompts.iter().map(to).fold(f32::INFINITY, f32::min)
    }
}

/// Reads and pre-processes an image of a data set.
pub fn load(path: &Path, preprocess: &Preprocess) -> Result<Pixels, FeatureError> {
    let bytes =
        std::fs::read(path).map_err(|source| FeatureError::ReadImage { path: path.to_owned(), source })?;
    preprocess.load(&bytes, &LIMITS).map_err(|source| FeatureError::Image { path: path.to_owned(), source })
}

/// Mean over the cells of a 60 x 60 grid, with the normalisation undone.
fn shrunk(pixels: &Pixels, preprocess: &Preprocess) -> Vec<f32> {
    let side = pixels.size as usize;
    let cell = |index: usize| {
        let from = index * side / SIDE;
        from..((index + 1) * side / SIDE).max(from + 1)
    };
    let mut values = Vec::with_capacity(3 * SIDE * SIDE);
    for (channel, plane) in pixels.values.chunks_exact(side * side).enumerate() {
        let (mean, deviation) = (preprocess.mean[channel], preprocess.std[channel]);
        for row in 0..SIDE {
            for column in 0..SIDE {
                let (rows, columns) = (cell(row), cell(column));
                let count = (rows.len() * columns.len()) as f32;
                let sum: f32 = rows.map(|y| plane[y * side..][columns.clone()].iter().sum::<f32>()).sum();
                values.push(sum / count * deviation + mean);
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use inctrl_model::DecodedImage;

    use super::*;

    #[test]
    fn shrinking_averages_and_undoes_the_normalisation() {
        let preprocess = Preprocess::clip(120);
        let rgb: Vec<u8> =
            (0..120 * 120).flat_map(|pixel| [if pixel % 2 == 0 { 0 } else { 200 }, 51, 255]).collect();
        let pixels = preprocess.apply(&DecodedImage::from_rgb(120, 120, rgb).unwrap());
        let small = shrunk(&pixels, &preprocess);
        assert_eq!(small.len(), 3 * SIDE * SIDE);
        for (channel, expected) in [(0, 100.0 / 255.0), (1, 0.2), (2, 1.0)] {
            assert_abs_diff_eq!(small[channel * SIDE * SIDE + 77], expected, epsilon = 1e-5);
        }
    }

    #[test]
    fn the_nearest_prompt_counts() {
        let flat = |value: f32| vec![value; 3 * SIDE * SIDE];
        let raw = RawPixels(BTreeMap::from([(0, flat(0.5)), (1, flat(0.9)), (2, flat(0.4))]));
        assert_abs_diff_eq!(raw.distance(0, &[1, 2]), 0.1, epsilon = 1e-6);
        assert_abs_diff_eq!(raw.distance(0, &[1]), 0.4, epsilon = 1e-6);
    }
}
