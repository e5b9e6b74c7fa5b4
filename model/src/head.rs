//! Heads: what is trained. `paper` is the authors' adapter and two score heads, `contextual` a linear layer over
//! residual statistics relative to the prompt set's own.
//!
//! A head is one immutable file, named by its digest; it goes with one backbone. Last step of a score: residuals
//! and prompt features in, scores out.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::{BackboneInfo, PromptFeatures, Residuals};

pub mod contextual;
mod error;
mod file;
pub mod paper;

pub use contextual::ContextualHead;
pub use error::HeadError;
pub use paper::PaperHead;

/// Which kind of head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// The authors' adapter and score heads.
    Paper,
    /// Statistics relative to the prompt set's own leave-one-out statistics.
    Contextual,
}

impl std::fmt::Display for HeadKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Paper => "paper",
            Self::Contextual => "contextual",
        })
    }
}

/// Stands in the head file; says which backbone the head goes with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadMetadata {
    /// Kind.
    pub kind: HeadKind,
    /// The backbone it was trained on.
    pub backbone: BackboneInfo,
    /// Whether the fusion holds the text score (a starter backbone has none). Only paper heads can.
    pub uses_text: bool,
}

impl HeadMetadata {
    /// Metadata of a head of `kind` trained on `backbone`: a paper head uses the text score where there is one.
    pub fn new(kind: HeadKind, backbone: BackboneInfo) -> Self {
        Self { kind, uses_text: kind == HeadKind::Paper && backbone.has_text, backbone }
    }

    /// Names and shapes of the head's tensors; all float32.
    pub fn layout(&self) -> Vec<(String, Vec<i64>)> {
        match self.kind {
            HeadKind::Paper => paper::layout(&self.backbone),
            HeadKind::Contextual => contextual::layout(),
        }
    }
}

/// A head in memory; immutable, named by its digest.
#[derive(Debug)]
pub struct Head {
    metadata: HeadMetadata,
    scorer: Scorer,
    digest: String,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Scorer {
    Paper(Box<PaperHead>),
    Contextual(ContextualHead),
}

/// What a head says of one query.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Final score in 0..=1, larger is more anomalous.
    pub score: f32,
    /// Image-level residual score; absent for heads without one.
    pub image_score: Option<f32>,
    /// Text score; absent without a text tower.
    pub text_score: Option<f32>,
    /// Largest patch residual.
    pub patch_max: f32,
    /// Score of the head over the holistic map; absent for heads without one.
    pub holistic_score: Option<f32>,
    /// Patch residual map, row-major.
    pub map: Vec<f32>,
}

/// Scores of a batch while they are tensors `[B]`.
pub(crate) struct BatchScores {
    pub(crate) score: Tensor,
    pub(crate) image_score: Option<Tensor>,
    pub(crate) holistic_score: Option<Tensor>,
}

impl Head {
    /// Reads a head file (safetensors with metadata): shapes, finite values and names are checked.
    pub fn load(path: &Path, device: Device) -> Result<Self, HeadError> {
        let bytes =
            std::fs::read(path).map_err(|source| HeadError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(&bytes, device)
            .map_err(|source| HeadError::File { path: path.to_owned(), source: Box::new(source) })
    }

    /// The same from memory.
    pub fn from_bytes(bytes: &[u8], device: Device) -> Result<Self, HeadError> {
        let (metadata, tensors) = file::read(bytes)?;
        let tensors = tensors.into_iter().map(|(name, tensor)| (name, tensor.to_device(device))).collect();
        let scorer = match metadata.kind {
            HeadKind::Paper => Scorer::Paper(Box::new(PaperHead::from_tensors(&tensors))),
            HeadKind::Contextual => Scorer::Contextual(ContextualHead::from_tensors(&tensors)),
        };
        Ok(Self { metadata, scorer, digest: file::digest(bytes), bytes: bytes.to_vec() })
    }

    /// A head of named tensors, checked as a file would be; brought to `device`.
    pub fn from_tensors<N: Into<String>>(
        metadata: &HeadMetadata,
        tensors: impl IntoIterator<Item = (N, Tensor)>,
        device: Device,
    ) -> Result<Self, HeadError> {
        let tensors = tensors.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect();
        Self::from_bytes(&file::write(metadata, &tensors)?, device)
    }

    /// The file's bytes: as they were read; canonical where the head was made here (the same metadata and weights
    /// give the same bytes).
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// `sha256:` and the digest of the file.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Metadata.
    pub fn metadata(&self) -> &HeadMetadata {
        &self.metadata
    }

    /// Fails when this head does not go with `backbone`.
    pub fn check_backbone(&self, backbone: &BackboneInfo) -> Result<(), HeadError> {
        let trained_on = &self.metadata.backbone;
        if trained_on.digest == backbone.digest {
            return Ok(());
        }
        let named = |info: &BackboneInfo| format!("{} ({})", info.name, info.digest);
        Err(HeadError::OtherBackbone { expected: named(trained_on), actual: named(backbone) })
    }

    /// Scores the queries of `residuals`; one entry a query.
    ///
    /// Fails when residuals or prompts lack what the head needs (text score, context, shapes); a query whose
    /// features are not finite gets a score that is not finite, which [`score_mixed`](crate::score_mixed) refuses.
    pub fn score(&self, residuals: &Residuals, prompts: &PromptFeatures) -> Result<Vec<Scores>, HeadError> {
        let info = &self.metadata.backbone;
        check_width("patches of the map", info.grid.0 * info.grid.1, &residuals.map)?;
        check_width("values of the class feature", info.embed_dim, &residuals.class)?;
        let scores = tch::no_grad(|| match &self.scorer {
            Scorer::Paper(head) => head.score(residuals, prompts, self.metadata.uses_text),
            Scorer::Contextual(head) => head.score(residuals, prompts),
        })?;
        Ok(per_query(&scores, residuals))
    }
}

fn check_width(what: &'static str, expected: usize, rows: &Tensor) -> Result<(), HeadError> {
    let actual = rows.size().last().map_or(0, |&n| n as usize);
    if actual == expected { Ok(()) } else { Err(HeadError::OtherShape { what, expected, actual }) }
}

/// Brings a batch to plain values with one copy from the device.
fn per_query(scores: &BatchScores, residuals: &Residuals) -> Vec<Scores> {
    let BatchScores { score, image_score, holistic_score } = scores;
    let patch_max = residuals.map.amax([1].as_slice(), true);
    let column = |values: &Tensor| values.unsqueeze(1);
    let optional = [image_score, holistic_score, &residuals.text_score];
    let mut columns = vec![column(score), patch_max];
    columns.extend(optional.into_iter().flatten().map(column));
    columns.push(residuals.map.shallow_clone());
    let rows = Vec::<Vec<f32>>::try_from(Tensor::cat(&columns, 1).to_device(Device::Cpu))
        .expect("a float32 matrix converts to rows of floats");
    rows.into_iter()
        .map(|row| {
            let mut values = row.into_iter();
            let mut next = || values.next().unwrap_or(f32::NAN);
            let (score, patch_max) = (next(), next());
            let [image_score, holistic_score, text_score] =
                optional.map(|tensor| tensor.as_ref().map(|_| next()));
            Scores { score, image_score, text_score, patch_max, holistic_score, map: values.collect() }
        })
        .collect()
}
