//! The frozen backbone: a folder as the Hub has it, opened on a device, encoding images (and texts, where it can).

use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::object_text::ObjectText;
use crate::preprocess::{Pixels, Preprocess};

mod clip;
mod efficientnet;
mod error;
mod folder;
mod starter;
mod tower;
mod weights;

pub use error::BackboneError;
pub use weights::{WeightsError, WeightsMismatch};

use folder::Opened;
use tower::{ImageTower, Placement, TextEncoder};

/// Number format of the backbone's arithmetic. What leaves the backbone is float32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// bfloat16.
    Bf16,
    /// 16-bit IEEE floats.
    Fp16,
}

/// What a backbone is; heads name the parts that they depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackboneInfo {
    /// Human name, such as `ViT-B-16-plus-240` or `efficientnet-lite0`.
    pub name: String,
    /// `clip` or `starter`: shown in every answer, log, metric and report.
    pub provenance: String,
    /// `sha256:` and the digest of configuration and weights.
    pub digest: String,
    /// Rows and columns of the patch grid, such as (15, 15).
    pub grid: (usize, usize),
    /// Channels of each tapped layer.
    pub tap_channels: Vec<usize>,
    /// Which blocks (CLIP) or stages (EfficientNet) are tapped, counted from 1.
    pub taps: Vec<usize>,
    /// Width D of the class feature.
    pub embed_dim: usize,
    /// Whether text prompts can be encoded.
    pub has_text: bool,
    /// Pre-processing that the weights were trained with.
    pub preprocess: Preprocess,
}

/// What the backbone says of B images; float32.
#[derive(Debug)]
pub struct Features {
    /// One tensor a tap: `[B, N, C_l]` with N = rows * columns, row-major, not normalised.
    pub taps: Vec<Tensor>,
    /// Class features `[B, D]`, not normalised.
    pub class: Tensor,
}

/// A backbone in memory; frozen.
pub struct Backbone {
    info: BackboneInfo,
    device: Device,
    images: Box<dyn ImageTower>,
    text: Option<Box<dyn TextEncoder>>,
}

impl Backbone {
    /// Opens a backbone folder: reads its configuration, loads weights strictly (missing, surplus and misshapen
    /// tensors are named), moves them to `device` in `precision`.
    ///
    /// A folder is either open_clip's, as the Hub has it (`open_clip_config.json`, `open_clip_model.safetensors`,
    /// `tokenizer.json` or `bpe_simple_vocab_16e6.txt.gz`), or that of a starter backbone (`backbone_config.json`,
    /// `model.safetensors`).
    pub fn open(folder: &Path, device: Device, precision: Precision) -> Result<Self, BackboneError> {
        let placement = Placement::new(device, precision);
        let Opened { info, images, text } = tch::no_grad(|| folder::open(folder, placement))?;
        Ok(Self { info, device, images, text })
    }

    /// What this backbone is.
    pub fn info(&self) -> &BackboneInfo {
        &self.info
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Stacks pixels to `[B, 3, S, S]` on the backbone's device, image by image: a batch is never on the host as a whole.
    pub fn stack(&self, images: &[&Pixels]) -> Result<Tensor, BackboneError> {
        let size = self.info.preprocess.size;
        let side = i64::from(size);
        let refused = |actual| BackboneError::PixelShape { size, actual };
        if images.is_empty() {
            return Err(refused(vec![0, 3, side, side]));
        }
        if let Some(image) = images.iter().find(|image| image.values.len() as i64 != 3 * side * side) {
            return Err(refused(vec![1, 3, i64::from(image.size), i64::from(image.size)]));
        }
        let stack = || {
            let shape = [images.len() as i64, 3, side, side];
            let stacked = Tensor::f_empty(shape, (Kind::Float, self.device))?;
            for (row, image) in (0..).zip(images) {
                let pixels = Tensor::f_from_slice(&image.values)?.f_view([3, side, side])?;
                stacked.f_get(row)?.f_copy_(&pixels)?;
            }
            Ok(stacked)
        };
        stack().map_err(|source| BackboneError::Torch { step: "stacking pixels", source })
    }

    /// Encodes `[B, 3, S, S]` normalised pixels. Runs without gradients.
    pub fn encode_images(&self, pixels: &Tensor) -> Result<Features, BackboneError> {
        let size = self.info.preprocess.size;
        let side = i64::from(size);
        match pixels.size()[..] {
            [batch, 3, height, width] if batch > 0 && height == side && width == side => {}
            _ => return Err(BackboneError::PixelShape { size, actual: pixels.size() }),
        }
        let encode = || self.images.encode(&pixels.f_to_device(self.device)?);
        tch::no_grad(encode).map_err(|source| BackboneError::Torch { step: "encoding images", source })
    }

    /// Unit-length text features of an object name, `[2, D]`: normal, anomalous. None without a text tower.
    pub fn encode_object(&self, object: &str) -> Result<Option<Tensor>, BackboneError> {
        let Some(mut text) = self.begin_object(object) else { return Ok(None) };
        loop {
            if let Some(features) = text.advance(self)? {
                return Ok(Some(features));
            }
        }
    }

    /// The same, to be done a few sentences at a time.
    pub fn begin_object(&self, object: &str) -> Option<ObjectText> {
        self.text.is_some().then(|| ObjectText::new(object))
    }

    /// Features `[M, D]` of M sentences.
    ///
    /// # Panics
    ///
    /// Without a text tower.
    pub(crate) fn encode_sentences(&self, sentences: &[String]) -> Result<Tensor, BackboneError> {
        let text = self.text.as_ref().expect("text prompts must be of a backbone with a text tower");
        tch::no_grad(|| text.encode(sentences))
            .map_err(|source| BackboneError::Torch { step: "encoding text prompts", source })
    }
}

impl Features {
    /// The rows `indices` of the batch.
    #[must_use]
    pub fn select(&self, indices: &[i64]) -> Self {
        let index = Tensor::from_slice(indices).to_device(self.class.device());
        let rows = |tensor: &Tensor| tensor.index_select(0, &index);
        Self { taps: self.taps.iter().map(rows).collect(), class: rows(&self.class) }
    }

    /// One batch of several, which must be of one backbone.
    #[must_use]
    pub fn concat(parts: &[&Self]) -> Self {
        let layers = parts.first().map_or(0, |part| part.taps.len());
        let tap = |layer: usize| {
            let taps: Vec<&Tensor> = parts.iter().map(|part| &part.taps[layer]).collect();
            Tensor::cat(&taps, 0)
        };
        let class: Vec<&Tensor> = parts.iter().map(|part| &part.class).collect();
        Self { taps: (0..layers).map(tap).collect(), class: Tensor::cat(&class, 0) }
    }
}
