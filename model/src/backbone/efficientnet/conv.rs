//! A convolution with TensorFlow's "same" padding and the batch norm after it folded in.

use tch::{Kind, TchError, Tensor};

use super::super::tower::{Placement, convolve};
use super::super::weights::Weights;

/// Added to the variance by every batch norm of the architecture.
const BATCH_NORM_EPSILON: f64 = 1e-3;

/// Upper bound of the activation: ReLU6.
const ACTIVATION_LIMIT: f64 = 6.0;

/// Sizes of a convolution.
#[derive(Clone, Copy)]
pub(super) struct ConvShape {
    pub(super) input: i64,
    pub(super) output: i64,
    pub(super) kernel: i64,
    pub(super) stride: i64,
    pub(super) groups: Groups,
}

/// Which channels meet.
#[derive(Clone, Copy)]
pub(super) enum Groups {
    /// All with all.
    One,
    /// Each only itself.
    EachChannel,
}

/// `norm(conv(x))` as one convolution with a bias.
pub(super) struct Conv {
    weight: Tensor,
    bias: Tensor,
    kernel: i64,
    stride: i64,
    groups: i64,
}

impl Conv {
    /// Takes `{conv}.weight` and the four tensors of the batch norm `norm`; folds in float64.
    pub(super) fn load(
        weights: &mut Weights,
        conv: &str,
        norm: &str,
        shape: ConvShape,
        placement: Placement,
    ) -> Result<Self, TchError> {
        let ConvShape { input, output, kernel, stride, groups } = shape;
        let groups = match groups {
            Groups::One => 1,
            Groups::EachChannel => input,
        };
        let mut take = |name: String, shape: &[i64]| weights.take(&name, shape).f_to_kind(Kind::Double);
        let weight = take(format!("{conv}.weight"), &[output, input / groups, kernel, kernel])?;
        let mut of_norm = |part: &str| take(format!("{norm}.{part}"), &[output]);
        let (gain, offset, mean) = (of_norm("weight")?, of_norm("bias")?, of_norm("running_mean")?);
        let variance =
            weights.take_variance(&format!("{norm}.running_var"), &[output]).f_to_kind(Kind::Double)?;

        let gain = gain.f_div(&variance.f_add_scalar(BATCH_NORM_EPSILON)?.f_sqrt()?)?;
        let weight = weight.f_mul(&gain.f_view([-1, 1, 1, 1])?)?;
        let bias = offset.f_sub(&mean.f_mul(&gain)?)?;
        let weight = channels_last(&placement.place(&weight)?)?;
        Ok(Self { weight, bias: placement.place(&bias)?, kernel, stride, groups })
    }

    /// `[B, C, h, w]` to `[B, C', ceil(h / stride), ceil(w / stride)]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let Self { weight, bias, kernel, stride, groups } = self;
        let (_, _, height, width) = x.size4()?;
        let (top, bottom) = same_padding(height, *kernel, *stride);
        let (left, right) = same_padding(width, *kernel, *stride);
        let convolve =
            |x: &Tensor, padding: [i64; 2]| convolve(x, weight, Some(bias), *stride, padding, *groups);
        if (top, left) == (bottom, right) {
            convolve(x, [top, left])
        } else {
            convolve(&x.f_constant_pad_nd([left, right, top, bottom])?, [0; 2])
        }
    }

    /// The same, then ReLU6.
    pub(super) fn activated(&self, x: &Tensor) -> Result<Tensor, TchError> {
        self.forward(x)?.f_clamp_(0.0, ACTIVATION_LIMIT)
    }
}

/// Zeros before and after a dimension of `size`, so that `ceil(size / stride)` windows cover it; the odd one comes after.
fn same_padding(size: i64, kernel: i64, stride: i64) -> (i64, i64) {
    let windows = (size + stride - 1) / stride;
    let total = ((windows - 1) * stride + kernel - size).max(0);
    (total / 2, total - total / 2)
}

/// The same values with channels innermost in memory: a third faster on a CPU.
pub(super) fn channels_last(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_tensorflows() {
        // size, kernel, stride: zeros before, zeros after
        for ((size, kernel, stride), expected) in [
            ((240, 3, 2), (0, 1)),
            ((60, 5, 2), (1, 2)),
            ((15, 5, 2), (2, 2)),
            ((15, 3, 1), (1, 1)),
            ((8, 1, 1), (0, 0)),
        ] {
            assert_eq!(same_padding(size, kernel, stride), expected, "size {size}, kernel {kernel}/{stride}");
        }
    }
}
