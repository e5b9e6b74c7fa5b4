//! What is asked and answered, in the server's own words: below `grpc::convert` there is no proto type.

use std::time::Duration;

use bytes::Bytes;
use inctrl_model::Scores;
use inctrl_model::preprocess::Area;
use tokio::time::Instant;

use crate::anomaly_map::AnomalyMap;
use crate::ids::ResourceId;

/// An image as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageInput {
    /// A file's bytes, format unknown.
    Encoded(Bytes),
    /// Interleaved 8-bit RGB.
    Raw { width: u32, height: u32, rgb: Bytes },
}

impl ImageInput {
    pub(crate) fn bytes(&self) -> &Bytes {
        match self {
            Self::Encoded(bytes) | Self::Raw { rgb: bytes, .. } => bytes,
        }
    }
}

/// Normal images of one object class.
#[derive(Debug, Clone)]
pub(crate) struct PromptImages {
    pub(crate) object_class: String,
    pub(crate) images: Vec<ImageInput>,
}

/// Where the normal images come from.
#[derive(Debug, Clone)]
pub(crate) enum PromptSource {
    Stored(ResourceId),
    Inline(PromptImages),
}

/// What anomaly map is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapMode {
    None,
    PatchGrid,
    ImageSize,
}

/// A request to score images against one prompt set.
#[derive(Debug, Clone)]
pub(crate) struct DetectRequest {
    /// At least one; each with its name in the request, such as `images[3]`.
    pub(crate) images: Vec<(String, ImageInput)>,
    pub(crate) prompts: PromptSource,
    /// None means the default model.
    pub(crate) model: Option<ResourceId>,
    /// None means the active revision.
    pub(crate) revision: Option<String>,
    pub(crate) map: MapMode,
    /// Scores at or above it are anomalous.
    pub(crate) threshold: Option<f32>,
    /// Decides between active head and candidate: the same key meets the same head.
    pub(crate) routing_key: String,
    /// When the caller stops waiting.
    pub(crate) deadline: Option<Instant>,
}

/// What was decided of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Uncalibrated,
    Normal,
    Anomalous,
}

impl Decision {
    pub(crate) fn new(score: f32, threshold: Option<f32>) -> Self {
        match threshold {
            None => Self::Uncalibrated,
            Some(threshold) if score >= threshold => Self::Anomalous,
            Some(_) => Self::Normal,
        }
    }
}

/// What answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provenance {
    pub(crate) model: ResourceId,
    pub(crate) revision: String,
    /// Of the revision within its model; 0 for a head by configuration.
    pub(crate) revision_number: i64,
    pub(crate) backbone_digest: String,
    /// `clip`, or `starter` for one that is not CLIP.
    pub(crate) backbone_kind: String,
    pub(crate) prompt_digest: String,
}

/// Where the time went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) decode: Duration,
    pub(crate) queue: Duration,
    pub(crate) compute: Duration,
    pub(crate) batch_size: usize,
    pub(crate) is_prompt_cache_hit: bool,
}

/// The answer for one image.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Its map is taken out where it is not asked for.
    pub(crate) scores: Scores,
    pub(crate) decision: Decision,
    pub(crate) threshold: Option<f32>,
    pub(crate) map: Option<AnomalyMap>,
    pub(crate) examined: Area,
    pub(crate) provenance: Provenance,
    pub(crate) timing: Timing,
}
