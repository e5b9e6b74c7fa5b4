//! Metrics of anomaly maps: all pixels of all test images of a category together, normal images among them.

use rayon::prelude::*;

use super::components::{BACKGROUND, regions};
use super::{MetricError, auroc, check_finite, tied};

/// An anomaly map and the truth, both row-major and of one size.
#[derive(Debug, Clone, Copy)]
pub struct ScoredMask<'a> {
    /// Score of each pixel.
    pub map: &'a [f32],
    /// Whether the pixel is anomalous; nowhere in a normal image.
    pub mask: &'a [bool],
    /// Columns.
    pub width: usize,
}

/// AUROC over the pixels of all `images`.
pub fn pixel_auroc(images: &[ScoredMask<'_>]) -> Result<f64, MetricError> {
    let scores: Vec<f32> = images.iter().flat_map(|image| image.map.iter().copied()).collect();
    let anomalous: Vec<bool> = images.iter().flat_map(|image| image.mask.iter().copied()).collect();
    auroc(&scores, &anomalous)
}

/// One pixel's part in the PRO curve.
#[derive(Debug, Clone, Copy)]
struct Pixel {
    score: f32,
    /// What the pixel adds to the mean overlap; 0 for the background.
    overlap: f64,
}

/// Area under the per-region-overlap curve for false-positive rates up to `limit` (0.3 by custom), divided by `limit`.
///
/// The curve has a point a distinct score: the share of all background pixels above it against the mean share above
/// it of every connected region (8 neighbours; regions weigh the same whatever their size). Trapezoid rule, linear
/// interpolation at `limit`, from (0, 0). A constant map gives `limit / 2`, a perfect one 1.
pub fn aupro(images: &[ScoredMask<'_>], limit: f64) -> Result<f64, MetricError> {
    let parts: Result<Vec<_>, MetricError> = images.par_iter().map(pixels_of).collect();
    let parts = parts?;
    let total_regions: usize = parts.iter().map(|(_, regions)| regions).sum();
    let mut pixels: Vec<Pixel> = parts.into_iter().flat_map(|(pixels, _)| pixels).collect();
    let background = pixels.iter().filter(|pixel| pixel.overlap == 0.0).count() as u64;
    if total_regions == 0 || background == 0 {
        let anomalous = pixels.len() as u64 - background;
        return Err(MetricError::OneLabel { anomalous, normal: background });
    }
    pixels.par_sort_unstable_by(|one, other| other.score.total_cmp(&one.score));
    let (mut alarms, mut overlap) = (0_u64, 0.0);
    let (mut area, mut before) = (0.0, (0.0, 0.0));
    for pixels in pixels.chunk_by(|one, other| tied(one.score, other.score)) {
        alarms += pixels.iter().filter(|pixel| pixel.overlap == 0.0).count() as u64;
        overlap += pixels.iter().map(|pixel| pixel.overlap).sum::<f64>();
        let point = (alarms as f64 / background as f64, overlap / total_regions as f64);
        area += area_between(before, point, limit);
        if point.0 >= limit {
            break;
        }
        before = point;
    }
    Ok(area / limit)
}

/// Area below the line from one point to the next, as far as `limit`.
fn area_between((x, y): (f64, f64), (next_x, next_y): (f64, f64), limit: f64) -> f64 {
    if next_x <= limit {
        return (next_x - x) * (y + next_y) / 2.0;
    }
    let at_limit = y + (next_y - y) * (limit - x) / (next_x - x);
    (limit - x) * (y + at_limit) / 2.0
}

/// The pixels of an image and its number of regions.
fn pixels_of(image: &ScoredMask<'_>) -> Result<(Vec<Pixel>, usize), MetricError> {
    let ScoredMask { map, mask, width } = *image;
    if map.len() != mask.len() {
        return Err(MetricError::Unpaired { scores: map.len(), labels: mask.len() });
    }
    check_finite(map)?;
    let (region_of, sizes) = regions(mask, width);
    let overlap = |region: u32| if region == BACKGROUND { 0.0 } else { 1.0 / sizes[region as usize] as f64 };
    let pixel = |(&score, &region)| Pixel { score, overlap: overlap(region) };
    Ok((map.iter().zip(&region_of).map(pixel).collect(), sizes.len()))
}
