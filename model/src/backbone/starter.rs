//! The starter backbone behind the seam: EfficientNet-Lite0 with ImageNet weights. It sees real images, costs a
//! sixtieth of CLIP and has no text tower; its provenance shows in every answer.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::BackboneInfo;
use super::efficientnet::{self, EfficientNetLite0};
use super::error::BackboneError;
use super::folder::{self, Opened};
use super::tower::Placement;
use super::weights::Weights;
use crate::preprocess::{Fit, Preprocess};

/// The configuration and the weights of a starter folder.
pub(super) const CONFIG_FILE: &str = "backbone_config.json";
const WEIGHTS_FILE: &str = "model.safetensors";

/// Tensors of the published state dict that no feature depends on: the classifier, and counters of training.
const IGNORED_WEIGHTS: [&str; 3] = ["_fc.weight", "_fc.bias", "*.num_batches_tracked"];

/// `backbone_config.json`; further keys (where the weights come from, their licence) are for people.
#[derive(Deserialize)]
struct StarterConfig {
    architecture: Architecture,
    preprocess: Option<Preprocess>,
}

/// Architectures that are known.
#[derive(Clone, Copy, Deserialize, Serialize)]
enum Architecture {
    #[serde(rename = "efficientnet-lite0")]
    EfficientNetLite0,
}

/// What of the configuration changes features; part of the digest.
#[derive(Serialize)]
struct Identity<'a> {
    architecture: Architecture,
    taps: &'a [usize],
    preprocess: &'a Preprocess,
}

/// Opens a starter folder.
pub(super) fn open(folder: &Path, placement: Placement) -> Result<Opened, BackboneError> {
    let path = folder.join(CONFIG_FILE);
    let StarterConfig { architecture, preprocess } = folder::read_config(&path)?;
    let preprocess = preprocess.unwrap_or_else(default_preprocess);
    if preprocess.size != efficientnet::IMAGE_SIZE {
        let reason = format!(
            "preprocess.size is {}, the tower's grid needs {}",
            preprocess.size,
            efficientnet::IMAGE_SIZE
        );
        return Err(BackboneError::Unsupported { path, reason });
    }
    let weights_path = folder::require(folder, WEIGHTS_FILE)?;
    let mut weights = Weights::read(&weights_path, &IGNORED_WEIGHTS)?;
    let tower = match architecture {
        Architecture::EfficientNetLite0 => EfficientNetLite0::load(&mut weights, placement),
    };
    let tower = tower.map_err(folder::placing)?;
    let weights_digest = weights.finish()?;
    let identity = Identity { architecture, taps: &efficientnet::TAPS, preprocess: &preprocess };
    let info = BackboneInfo {
        name: "efficientnet-lite0".to_owned(),
        provenance: "starter".to_owned(),
        digest: folder::digest(weights_digest, &identity),
        grid: efficientnet::GRID,
        tap_channels: efficientnet::TAP_CHANNELS.to_vec(),
        taps: efficientnet::TAPS.to_vec(),
        embed_dim: efficientnet::EMBED_DIM,
        has_text: false,
        preprocess,
    };
    Ok(Opened { info, images: Box::new(tower), text: None })
}

/// As the weights were trained: (x - 127) / 128 of values in 0..=255.
fn default_preprocess() -> Preprocess {
    Preprocess {
        size: efficientnet::IMAGE_SIZE,
        mean: [127.0 / 255.0; 3],
        std: [128.0 / 255.0; 3],
        fit: Fit::Crop,
    }
}
