//! Filter weights of a bicubic resize along one axis, as Pillow computes them.

/// Bits after the point of a fixed-point weight: 32 bits less 8 of the sample and 2 of headroom.
pub(super) const PRECISION_BITS: u32 = 32 - 8 - 2;
/// Reach of the filter in output pixels (widened when scaling down, which is what keeps aliasing away).
const SUPPORT: f64 = 2.0;

/// Weights of the outputs `offset .. offset + count` of one axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    /// First input of each output.
    pub(super) starts: Vec<usize>,
    /// Inputs of each output; the first `lengths[i]` weights of row i count, the rest are 0.
    pub(super) lengths: Vec<usize>,
    /// Weights in a row.
    pub(super) stride: usize,
    /// `[count, stride]`, each row summing to 1.
    pub(super) values: Vec<f64>,
}

impl Weights {
    /// Scales `input` samples to `output`, keeping `count` of them from `offset` on.
    pub(super) fn bicubic(input: usize, output: u64, offset: u64, count: usize) -> Self {
        let scale = input as f64 / output as f64;
        let filter_scale = scale.max(1.0);
        let support = SUPPORT * filter_scale;
        let stride = (support.ceil() as usize * 2 + 1).min(input);
        let mut weights = Self {
            starts: Vec::new(),
            lengths: Vec::new(),
            stride,
            values: Vec::with_capacity(count * stride),
        };
        for index in 0..count as u64 {
            let centre = ((offset + index) as f64 + 0.5) * scale;
            let start = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(input);
            weights.push(start, end, centre, filter_scale.recip());
        }
        weights
    }

    fn push(&mut self, start: usize, end: usize, centre: f64, inverse_scale: f64) {
        let row = self.values.len();
        self.values.extend((start..end).map(|input| cubic((input as f64 - centre + 0.5) * inverse_scale)));
        let sum: f64 = self.values.iter().skip(row).sum();
        if sum != 0.0 {
            let inverse = sum.recip();
            self.values.iter_mut().skip(row).for_each(|weight| *weight *= inverse);
        }
        self.starts.push(start);
        self.lengths.push(end - start);
        self.values.resize(row + self.stride, 0.0);
    }

    /// First input of all outputs, and how many inputs from there on they need.
    pub(super) fn span(&self) -> (usize, usize) {
        let start = self.starts.first().copied().unwrap_or(0);
        let end = self.starts.iter().zip(&self.lengths).map(|(start, length)| start + length).max();
        (start, end.unwrap_or(start) - start)
    }

    /// Output `index` of 16-bit inputs, `step` apart; the first one is the output's first input.
    pub(super) fn weigh_16_bit(&self, index: usize, inputs: &[u16], step: usize) -> u16 {
        let weights = &self.values[index * self.stride..][..self.lengths[index]];
        let sum: f64 = weights
            .iter()
            .zip(inputs.iter().step_by(step))
            .map(|(weight, &input)| weight * f64::from(input))
            .sum();
        sum.round() as u16
    }

    /// The same weights in fixed point, halves away from zero.
    pub(super) fn fixed_point(&self) -> impl Iterator<Item = i32> {
        let one = f64::from(1_u32 << PRECISION_BITS);
        self.values.iter().map(move |weight| (weight * one + 0.5_f64.copysign(*weight)) as i32)
    }
}

/// The cubic convolution kernel with a = -0.5 (Catmull-Rom).
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_sums_to_one() {
        for (input, output) in [(1, 240), (7, 240), (240, 240), (1000, 240)] {
            let weights = Weights::bicubic(input, output, 0, output as usize);
            for row in weights.values.chunks(weights.stride) {
                let sum: f64 = row.iter().sum();
                assert!((sum - 1.0).abs() < 1e-12, "{input} to {output} must keep brightness, sum {sum}");
            }
        }
    }

    #[test]
    fn an_unchanged_axis_is_the_identity() {
        let weights = Weights::bicubic(9, 9, 0, 9);
        for (index, row) in weights.values.chunks(weights.stride).enumerate() {
            let own = index - weights.starts[index];
            let expected: Vec<f64> = (0..weights.stride).map(|tap| f64::from(u8::from(tap == own))).collect();
            assert_eq!(row, expected, "output {index} must be its own input");
        }
    }

    #[test]
    fn a_part_has_the_weights_of_the_whole() {
        let whole = Weights::bicubic(100, 37, 0, 37);
        let part = Weights::bicubic(100, 37, 11, 5);
        assert_eq!(part.starts, whole.starts[11..16]);
        assert_eq!(part.values, whole.values[11 * whole.stride..16 * whole.stride]);
    }
}
