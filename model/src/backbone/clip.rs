//! CLIP behind the backbone: open_clip's configuration and weights to an image tower and a text encoder.

use std::path::Path;

use serde::Serialize;
use tch::{TchError, Tensor};

use super::error::BackboneError;
use super::folder::{self, Opened};
use super::tower::{Placement, TextEncoder};
use super::weights::Weights;
use crate::tokenizer::Tokenizer;

mod block;
mod config;
mod text;
mod vision;

use config::{ClipFile, ClipModel};
use text::TextTower;
use vision::VisionTower;

/// The configuration and the weights, as the Hub names them.
pub(super) const CONFIG_FILE: &str = "open_clip_config.json";
pub(super) const WEIGHTS_FILE: &str = "open_clip_model.safetensors";

/// Tensors of a CLIP that no feature depends on.
const IGNORED_WEIGHTS: [&str; 3] = ["logit_scale", "logit_bias", "*.num_batches_tracked"];

/// What of the configuration changes features; part of the digest.
#[derive(Serialize)]
struct Identity<'a> {
    architecture: &'static str,
    model: &'a ClipModel,
}

/// Text side: sentences to features.
struct ClipText {
    tokenizer: Tokenizer,
    tower: TextTower,
    context: usize,
}

/// Opens a CLIP folder.
pub(super) fn open(folder: &Path, placement: Placement) -> Result<Opened, BackboneError> {
    let path = folder.join(CONFIG_FILE);
    let file: ClipFile = folder::read_config(&path)?;
    let model = file.resolve().map_err(|reason| BackboneError::Unsupported { path, reason })?;
    let config = &model.config;
    let tokenizer = Tokenizer::open(folder, config.text_cfg.vocab_size as usize)?;
    let weights_path = folder::require(folder, WEIGHTS_FILE)?;

    let mut weights = Weights::read(&weights_path, &IGNORED_WEIGHTS)?;
    let vision = VisionTower::load(&mut weights, &model, placement).map_err(folder::placing)?;
    let text = TextTower::load(&mut weights, config, placement).map_err(folder::placing)?;
    let weights_digest = weights.finish()?;

    let digest = folder::digest(weights_digest, &Identity { architecture: "clip", model: &model });
    let grid = config.vision_cfg.grid() as usize;
    Ok(Opened {
        info: super::BackboneInfo {
            name: config.name(),
            provenance: "clip".to_owned(),
            digest,
            grid: (grid, grid),
            tap_channels: vec![config.vision_cfg.width as usize; model.taps.len()],
            taps: model.taps.clone(),
            embed_dim: config.embed_dim as usize,
            has_text: true,
            preprocess: model.preprocess.clone(),
        },
        images: Box::new(vision),
        text: Some(Box::new(ClipText {
            tokenizer,
            tower: text,
            context: config.text_cfg.context_length as usize,
        })),
    })
}

impl TextEncoder for ClipText {
    fn encode(&self, sentences: &[String]) -> Result<Tensor, TchError> {
        let ids: Vec<Vec<i64>> =
            sentences.iter().map(|sentence| self.tokenizer.encode(sentence, self.context)).collect();
        self.tower.encode(&ids)
    }
}
