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

/// A text encoder: an object name to what the text score compares images with.
pub(crate) trait TextEncoder: Send {
    /// Unit-length features `[2, D]`, float32: of the normal sentences, of the anomalous ones. The caller holds the
    /// no-gradient guard.
    fn encode_object(&self, object: &str) -> Result<Tensor, TchError>;
}
