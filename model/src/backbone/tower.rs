//! The seam between a backbone and the architectures that can stand behind it.

use tch::{Device, Kind, TchError, Tensor};

use super::{Features, Precision};

/// An image tower: pixels to features. CLIP's vision transformer and EfficientNet-Lite0 stand behind it.
pub(crate) trait ImageTower: Send {
    /// Encodes normalised pixels `[B, 3, S, S]`, float32 on the tower's device, to float32 features on the same
    /// device. The caller holds the no-gradient guard.
    fn encode(&self, pixels: &Tensor) -> Result<Features, TchError>;
}

/// Where a tower computes, and in which number format.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement {
    pub(crate) device: Device,
    pub(crate) kind: Kind,
}

impl Placement {
    pub(crate) fn new(device: Device, precision: Precision) -> Self {
        let kind = match precision {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
            Precision::Fp16 => Kind::Half,
        };
        Self { device, kind }
    }

    /// The tensor on this device in this number format; itself where it already is.
    pub(crate) fn place(&self, tensor: &Tensor) -> Result<Tensor, TchError> {
        tensor.f_to_device_(self.device, self.kind, false, false)
    }
}

/// A 2-D convolution whose float32 products are float32 on every device. On CUDA libtorch would else let cuDNN round
/// them to TF32, which moves scores by 1e-3.
pub(crate) fn convolve(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: i64,
    padding: [i64; 2],
    groups: i64,
) -> Result<Tensor, TchError> {
    let [transposed, benchmark, deterministic, allow_tf32] = [false; 4];
    x.f_internal_convolution(
        weight,
        bias,
        [stride; 2],
        padding,
        [1; 2],
        transposed,
        [0; 2],
        groups,
        benchmark,
        deterministic,
        true,
        allow_tf32,
    )
}

/// A text encoder: sentences to what images are compared with.
pub(crate) trait TextEncoder: Send {
    /// Features `[M, D]` of M sentences, float32, not normalised. The caller holds the no-gradient guard.
    fn encode(&self, sentences: &[String]) -> Result<Tensor, TchError>;
}
