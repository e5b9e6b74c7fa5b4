//! A scorer without a network: how far the oddest patch of a query is from all patches of the prompts.

use crate::synth::canvas::{Canvas, Rgb};

/// Pixels of a patch along a side; patches overlap by half.
const PATCH: usize = 12;

/// Colour and its spread, and the mean slope across and down.
type Patch = [f32; 6];

/// Patches of a prompt set.
pub(super) struct Bank {
    patches: Vec<Patch>,
    scale: Patch,
}

impl Bank {
    pub(super) fn new(prompts: impl Iterator<Item = Canvas>) -> Self {
        let patches: Vec<Patch> = prompts.flat_map(|canvas| patches(&canvas)).collect();
        let scale = std::array::from_fn(|feature| {
            let mean = patches.iter().map(|patch| patch[feature]).sum::<f32>() / patches.len() as f32;
            let variance = patches.iter().map(|patch| (patch[feature] - mean).powi(2)).sum::<f32>();
            // Half of a grey level: features that hardly vary among the prompts must not decide by their noise.
            1.0 / ((variance / patches.len() as f32).sqrt() + 0.02)
        });
        Self { patches, scale }
    }

    /// Mean residual of the three oddest patches.
    pub(super) fn score(&self, query: &Canvas) -> f32 {
        let mut residuals: Vec<f32> = patches(query).iter().map(|patch| self.residual(patch)).collect();
        residuals.sort_by(|a, b| b.total_cmp(a));
        residuals.iter().take(3).sum::<f32>() / 3.0
    }

    fn residual(&self, patch: &Patch) -> f32 {
        let distance = |known: &Patch| {
            known
                .iter()
                .zip(patch)
                .zip(&self.scale)
                .map(|((a, b), scale)| ((a - b) * scale).powi(2))
                .sum::<f32>()
        };
        self.patches.iter().map(distance).fold(f32::INFINITY, f32::min).sqrt()
    }
}

fn patches(canvas: &Canvas) -> Vec<Patch> {
    let starts = || (0..=canvas.side - PATCH).step_by(PATCH / 2);
    starts().flat_map(|top| starts().map(move |left| patch(canvas, left, top))).collect()
}

fn patch(canvas: &Canvas, left: usize, top: usize) -> Patch {
    let at = |x: usize, y: usize| canvas.pixels[y * canvas.side + x];
    let count = (PATCH * PATCH) as f32;
    let inside = || (top..top + PATCH).flat_map(|y| (left..left + PATCH).map(move |x| (x, y)));
    let Rgb([red, green, blue]) = inside().fold(Rgb::default(), |sum, (x, y)| sum + at(x, y)) * (1.0 / count);
    let mean = Rgb([red, green, blue]).luma();
    let spread = (inside().map(|(x, y)| (at(x, y).luma() - mean).powi(2)).sum::<f32>() / count).sqrt();
    let (mut across, mut down) = (0.0, 0.0);
    for (x, y) in inside().filter(|(x, y)| x + 1 < left + PATCH && y + 1 < top + PATCH) {
        across += (at(x + 1, y).luma() - at(x, y).luma()).abs();
        down += (at(x, y + 1).luma() - at(x, y).luma()).abs();
    }
    [red, green, blue, spread, across / count, down / count]
}
