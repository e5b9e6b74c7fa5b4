//! A logistic regression on statistics of whole images: what a network could take instead of looking.

use crate::synth::canvas::{Canvas, Rgb};

/// Passes over the training data; the loss is convex and the step small, so that more change nothing.
const PASSES: usize = 400;
const STEP: f32 = 0.3;
const DECAY: f32 = 1e-3;

/// Octaves of detail that are measured.
const BANDS: usize = 4;

/// Mean and spread by channel, a histogram of lightness, energy of slopes, energy by octave.
pub(super) fn statistics(canvas: &Canvas) -> Vec<f32> {
    let count = canvas.pixels.len() as f32;
    let mut row = Vec::new();
    for channel in 0..3 {
        let values = || canvas.pixels.iter().map(|Rgb(pixel)| pixel[channel]);
        let mean = values().sum::<f32>() / count;
        row.extend([mean, (values().map(|value| (value - mean).powi(2)).sum::<f32>() / count).sqrt()]);
    }
    let mut histogram = [0.0; 8];
    for pixel in &canvas.pixels {
        histogram[((pixel.luma() * 8.0) as usize).min(7)] += 1.0 / count;
    }
    row.extend(histogram);
    let luma: Vec<f32> = canvas.pixels.iter().map(|pixel| pixel.luma()).collect();
    let slopes = luma.windows(2).map(|pair| (pair[1] - pair[0]).powi(2));
    row.push((slopes.clone().sum::<f32>() / count).sqrt());
    row.push(slopes.fold(0.0, f32::max).sqrt());
    let (mut side, mut level) = (canvas.side, luma);
    for _ in 0..BANDS {
        let half = side / 2;
        let mean = |x: usize, y: usize| {
            let at = |dx: usize, dy: usize| level[(2 * y + dy) * side + 2 * x + dx];
            (at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1)) / 4.0
        };
        let smaller: Vec<f32> = (0..half * half).map(|index| mean(index % half, index / half)).collect();
        let lost = (0..half * half).map(|index| {
            let (x, y) = (index % half, index / half);
            (level[2 * y * side + 2 * x] - smaller[index]).powi(2)
        });
        row.push((lost.sum::<f32>() / (half * half) as f32).sqrt());
        (side, level) = (half, smaller);
    }
    row
}

/// The regression, on standardised statistics.
pub(super) struct Probe {
    mean: Vec<f32>,
    scale: Vec<f32>,
    weights: Vec<f32>,
    bias: f32,
}

impl Probe {
    pub(super) fn fit(rows: &[(Vec<f32>, bool)]) -> Self {
        let width = rows[0].0.len();
        let count = rows.len() as f32;
        let column = |at: usize| rows.iter().map(move |(row, _)| row[at]);
        let mean: Vec<f32> = (0..width).map(|at| column(at).sum::<f32>() / count).collect();
        let spread =
            |at: usize| (column(at).map(|value| (value - mean[at]).powi(2)).sum::<f32>() / count).sqrt();
        let scale: Vec<f32> = (0..width).map(|at| 1.0 / spread(at).max(1e-6)).collect();
        let mut probe = Self { mean, scale, weights: vec![0.0; width], bias: 0.0 };
        let standard: Vec<Vec<f32>> = rows.iter().map(|(row, _)| probe.standard(row)).collect();
        let anomalous = rows.iter().filter(|(_, anomalous)| *anomalous).count() as f32;
        for _ in 0..PASSES {
            let mut slope = vec![0.0; width];
            let mut slope_of_bias = 0.0;
            for (row, (_, label)) in standard.iter().zip(rows) {
                // Both labels weigh the same in sum.
                let weight = if *label { 0.5 / anomalous } else { 0.5 / (count - anomalous) };
                let error = (1.0 / (1.0 + (-probe.linear(row)).exp()) - f32::from(*label)) * weight;
                slope_of_bias += error;
                slope.iter_mut().zip(row).for_each(|(slope, value)| *slope += error * value);
            }
            for (weight, slope) in probe.weights.iter_mut().zip(slope) {
                *weight -= STEP * (slope + DECAY * *weight);
            }
            probe.bias -= STEP * slope_of_bias;
        }
        probe
    }

    pub(super) fn score(&self, row: &[f32]) -> f32 {
        self.linear(&self.standard(row))
    }

    fn standard(&self, row: &[f32]) -> Vec<f32> {
        row.iter()
            .zip(&self.mean)
            .zip(&self.scale)
            .map(|((value, mean), scale)| (value - mean) * scale)
            .collect()
    }

    fn linear(&self, row: &[f32]) -> f32 {
        self.bias + row.iter().zip(&self.weights).map(|(value, weight)| value * weight).sum::<f32>()
    }
}
