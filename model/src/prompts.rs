//! What is kept of a prompt set: normalised patch banks, class features, text features and the set's own spread.
//!
//! Computed once for a prompt set and shared by every query and head; the context (each image against the others)
//! is also the set's quality report.

use tch::Tensor;

use crate::backbone::{Backbone, BackboneError, Features};
use crate::preprocess::Pixels;
use crate::residual::{Residuals, class_distance, half_distance, mean_over_taps, normalised};

/// Below every cosine: hides an image from itself when its nearest other is looked for.
const BELOW_COSINES: f64 = -2.0;

/// Features of a prompt set of K images; computed once, shared by every query and head.
#[derive(Debug)]
pub struct PromptFeatures {
    /// One L2-normalised bank a tap: `[K * N, C_l]`.
    pub bank: Vec<Tensor>,
    /// Class features `[K, D]`.
    pub class: Tensor,
    /// Text features `[2, D]` of the object name, where the backbone has a text tower.
    pub text: Option<Tensor>,
    /// Residual maps of the set against itself, `[K', N]`: each image against the other K - 1; for K = 1 the
    /// mirrored image against the image. Empty (K' = 0) for K = 1 without the mirrored image.
    pub context_maps: Tensor,
    /// Class-feature distances of the same pairs, `[K']`.
    pub context_class_distance: Tensor,
}

impl PromptFeatures {
    /// From already encoded images (K of at least 1). `mirrored` is read only for K = 1, where it must be given for
    /// the context: without it contextual heads refuse the prompt set, others do not need it.
    pub fn new(images: &Features, mirrored: Option<&Features>, text: Option<Tensor>) -> Self {
        let bank: Vec<Tensor> =
            images.taps.iter().map(|tap| normalised(&tap.flatten(0, 1)).contiguous()).collect();
        let shots = images.class.size()[0];
        let patches = images.taps.first().map_or(0, |tap| tap.size()[1]);
        let empty = |shape: &[i64]| Tensor::zeros(shape, (tch::Kind::Float, images.class.device()));
        let mut prompts = Self {
            bank,
            class: images.class.shallow_clone(),
            text,
            context_maps: empty(&[0, patches]),
            context_class_distance: empty(&[0]),
        };
        if shots > 1 {
            prompts.context_maps = leave_one_out_maps(&prompts.bank, shots);
            prompts.context_class_distance = leave_one_out_class_distance(&prompts.class);
        } else if let Some(mirrored) = mirrored {
            let residuals = Residuals::new(mirrored, &prompts);
            prompts.context_maps = residuals.map;
            prompts.context_class_distance = class_distance(&mirrored.class, &prompts.class);
        }
        prompts
    }

    /// Encodes `images` (at least one; for a single one its mirrored copy, too) and the object name.
    pub fn encode(backbone: &Backbone, images: &[&Pixels], object: &str) -> Result<Self, BackboneError> {
        Self::encode_beside(backbone, images, backbone.encode_object(object)?)
    }

    /// The same where the text features `[2, D]` of the object name are at hand.
    pub fn encode_beside(
        backbone: &Backbone,
        images: &[&Pixels],
        text: Option<Tensor>,
    ) -> Result<Self, BackboneError> {
        if let [image] = images {
            let both = backbone.encode_images(&backbone.stack(&[image, &image.mirrored()])?)?;
            return Ok(Self::new(&both.select(&[0]), Some(&both.select(&[1])), text));
        }
        let features = backbone.encode_images(&backbone.stack(images)?)?;
        Ok(Self::new(&features, None, text))
    }

    /// K.
    pub fn shots(&self) -> usize {
        self.class.size()[0] as usize
    }

    /// Memory held in bytes, for a cache's weight.
    pub fn bytes(&self) -> usize {
        let Self { bank, class, text, context_maps, context_class_distance } = self;
        let tensors = bank.iter().chain([class, context_maps, context_class_distance]).chain(text);
        tensors.map(|tensor| tensor.numel() * size_of::<f32>()).sum()
    }
}

/// Residual map of each of `shots` images against the others, `[K, N]`, from normalised banks `[K * N, C_l]`.
fn leave_one_out_maps(bank: &[Tensor], shots: i64) -> Tensor {
    let maps: Vec<Tensor> = bank
        .iter()
        .map(|tap| {
            let patches = tap.size()[0] / shots;
            let transposed = tap.tr();
            let rows: Vec<Tensor> = (0..shots)
                .map(|image| {
                    let own = tap.narrow(0, image * patches, patches);
                    let cosines = own.matmul(&transposed).reshape([patches, shots, patches]);
                    let nearest = cosines.amax([2].as_slice(), false);
                    let _ = nearest.select(1, image).fill_(BELOW_COSINES);
                    nearest.amax([1].as_slice(), false)
                })
                .collect();
            half_distance(&Tensor::stack(&rows, 0))
        })
        .collect();
    mean_over_taps(&maps)
}

/// 1 - largest cosine of each class feature to those of the other images, `[K]`.
fn leave_one_out_class_distance(class: &Tensor) -> Tensor {
    let unit = normalised(class);
    let cosines = unit.matmul(&unit.tr());
    let _ = cosines.diagonal(0, 0, 1).fill_(BELOW_COSINES);
    (1.0_f64 - cosines.amax([1].as_slice(), false)).clamp_min(0.0)
}
