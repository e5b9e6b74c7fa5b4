//! Pillow's resize: two bicubic passes with 8-bit rounding between them, or nearest neighbour.
//!
//! Only the part that the crop keeps is computed. All results are planar, `[channels, height, width]`.

use super::geometry::Placement;
use super::weights::{PRECISION_BITS, Weights};

/// Rows that one sweep of the horizontal pass takes: their results fill a cache line of the turned image.
const ROWS_AT_ONCE: usize = 32;
/// Weights and samples are padded to whole vectors of this many 16-bit lanes.
const LANES: usize = 8;
/// A weight of 23 bits and sign is split for 16-bit multiplication: `high * 2^LOW_BITS + low`.
const LOW_BITS: u32 = 12;

/// Interleaved source samples: `[height, width, channels]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a, T> {
    pub(super) samples: &'a [T],
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) channels: usize,
}

/// Bicubic resize of 8-bit samples; bit for bit what Pillow computes.
pub(super) fn bicubic(source: Source<'_, u8>, place: &Placement) -> Vec<u8> {
    let Source { samples, width, height, channels } = source;
    let columns = Weights::bicubic(width as usize, place.resized.0, place.crop.0, place.kept.0 as usize);
    let rows = Weights::bicubic(height as usize, place.resized.1, place.crop.1, place.kept.1 as usize);
    let (left, needed_columns) = columns.span();
    let (top, needed_rows) = rows.span();
    let (columns, rows) = (FixedWeights::new(&columns), FixedWeights::new(&rows));

    let line = needed_columns + columns.stride;
    let column_length = needed_rows.next_multiple_of(ROWS_AT_ONCE) + rows.stride;
    let kept_columns = columns.starts.len();

    // The turned image: [channels, kept columns, rows], so that both passes read along memory.
    let mut turned = vec![0_i16; channels * kept_columns * column_length];
    let mut planes = vec![0_i16; channels * ROWS_AT_ONCE * line];
    let row_length = width as usize * channels;
    for block in (0..needed_rows).step_by(ROWS_AT_ONCE) {
        let block_rows = ROWS_AT_ONCE.min(needed_rows - block);
        for row in 0..block_rows {
            let first = (top + block + row) * row_length + left * channels;
            let interleaved = &samples[first..first + needed_columns * channels];
            for channel in 0..channels {
                let plane = &mut planes[(channel * ROWS_AT_ONCE + row) * line..][..needed_columns];
                let values = interleaved.iter().skip(channel).step_by(channels);
                plane.iter_mut().zip(values).for_each(|(sample, &value)| *sample = i16::from(value));
            }
        }
        for channel in 0..channels {
            for column in 0..kept_columns {
                let out = &mut turned[(channel * kept_columns + column) * column_length + block..];
                for (row, out) in out.iter_mut().enumerate().take(block_rows) {
                    let samples = &planes[(channel * ROWS_AT_ONCE + row) * line..][..line];
                    *out = i16::from(columns.apply(column, left, samples));
                }
            }
        }
    }

    let kept_rows = rows.starts.len();
    let mut planar = vec![0_u8; channels * kept_rows * kept_columns];
    for (index, out) in planar.iter_mut().enumerate() {
        let (channel, column) = (index / (kept_rows * kept_columns), index % kept_columns);
        let row = index / kept_columns % kept_rows;
        let samples = &turned[(channel * kept_columns + column) * column_length..][..column_length];
        *out = rows.apply(row, top, samples);
    }
    planar
}

/// Bicubic resize of one channel of 16-bit samples; Pillow computes it in floating point.
pub(super) fn bicubic_16_bit(source: Source<'_, u16>, place: &Placement) -> Vec<u16> {
    let width = source.width as usize;
    let columns = Weights::bicubic(width, place.resized.0, place.crop.0, place.kept.0 as usize);
    let rows = Weights::bicubic(source.height as usize, place.resized.1, place.crop.1, place.kept.1 as usize);
    let kept_columns = columns.starts.len();
    let (top, needed_rows) = rows.span();
    let across: Vec<u16> = source.samples[top * width..(top + needed_rows) * width]
        .chunks_exact(width)
        .flat_map(|row| {
            (0..kept_columns).map(|column| columns.weigh_16_bit(column, &row[columns.starts[column]..], 1))
        })
        .collect();
    (0..rows.starts.len() * kept_columns)
        .map(|index| {
            let (row, column) = (index / kept_columns, index % kept_columns);
            let first = (rows.starts[row] - top) * kept_columns + column;
            rows.weigh_16_bit(row, &across[first..], kept_columns)
        })
        .collect()
}

/// Nearest neighbour, for samples whose means are no colours. The source coordinate is summed up step by step, as
/// Pillow does it: rounding decides which neighbour is hit where a step falls on an edge.
pub(super) fn nearest(source: Source<'_, u8>, place: &Placement) -> Vec<u8> {
    let Source { samples, width, height, channels } = source;
    let columns = nearest_indices(width, place.resized.0, place.crop.0, place.kept.0);
    let rows = nearest_indices(height, place.resized.1, place.crop.1, place.kept.1);
    let mut planar = Vec::with_capacity(channels * rows.len() * columns.len());
    for channel in 0..channels {
        for &row in &rows {
            let first = row * width as usize;
            planar.extend(columns.iter().map(|&column| samples[(first + column) * channels + channel]));
        }
    }
    planar
}

fn nearest_indices(input: u32, output: u64, offset: u64, count: u32) -> Vec<usize> {
    let step = f64::from(input) / output as f64;
    let mut position = step * 0.5;
    for _ in 0..offset {
        position += step;
    }
    let mut indices = Vec::with_capacity(count as usize);
    for _ in 0..count {
        indices.push((position as usize).min(input as usize - 1));
        position += step;
    }
    indices
}

/// Fixed-point weights, split in two halves of 16 bits: two multiplications of 16-bit lanes give the exact sum.
struct FixedWeights {
    starts: Vec<usize>,
    stride: usize,
    high: Vec<i16>,
    low: Vec<i16>,
}

impl FixedWeights {
    fn new(weights: &Weights) -> Self {
        let stride = weights.stride.next_multiple_of(LANES);
        let rows = weights.starts.len();
        let (mut high, mut low) = (vec![0; rows * stride], vec![0; rows * stride]);
        for (index, weight) in weights.fixed_point().enumerate() {
            let place = index / weights.stride * stride + index % weights.stride;
            high[place] = (weight >> LOW_BITS) as i16;
            low[place] = (weight & ((1 << LOW_BITS) - 1)) as i16;
        }
        Self { starts: weights.starts.clone(), stride, high, low }
    }

    /// Output `index` of samples that begin at input `first` and are padded by a stride.
    #[inline]
    fn apply(&self, index: usize, first: usize, samples: &[i16]) -> u8 {
        let samples = &samples[self.starts[index] - first..][..self.stride];
        let high = &self.high[index * self.stride..][..self.stride];
        let low = &self.low[index * self.stride..][..self.stride];
        let (mut high_sum, mut low_sum) = (0_i32, 0_i32);
        for ((&sample, &high), &low) in samples.iter().zip(high).zip(low) {
            high_sum += i32::from(sample) * i32::from(high);
            low_sum += i32::from(sample) * i32::from(low);
        }
        let sum = (high_sum << LOW_BITS) + low_sum + (1 << (PRECISION_BITS - 1));
        (sum >> PRECISION_BITS).clamp(0, 255) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Fit;

    #[test]
    fn where_nothing_is_resized_every_filter_gives_the_samples_themselves() {
        let (width, height) = (12, 20);
        let samples: Vec<u8> = (0..width * height * 3).map(|index| (index * 37 % 251) as u8).collect();
        let source = Source { samples: &samples, width, height, channels: 3 };
        let place = Placement::new((width, height), 12, Fit::Crop);
        assert_eq!(place.crop, (0, 4));
        let copied = nearest(source, &place);
        assert_eq!(copied, bicubic(source, &place));
        let first_row: [u8; 12] = std::array::from_fn(|column| samples[(4 * 12 + column) * 3]);
        assert_eq!(copied[..12], first_row);
    }
}
