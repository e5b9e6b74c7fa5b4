//! The seam between the serving engine and tensors: a synchronous trait, owned by one thread.
//!
//! Everything that holds a tensor stands behind [`Scorer`] and lives on its thread; the rest of the server deals in
//! keys, plain pixels and plain scores.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use inctrl_model::{BackboneInfo, HeadError, HeadKind, Pixels, Precision, Scores, SelfTestError};

pub mod fake;
mod probe;
mod texts;
mod thread;
mod torch;

pub(crate) use thread::{Garbage, Job, ScorerThread, ThreadSpec};
pub use torch::{TorchError, TorchScorer, TorchSpec};

/// Names the features of a prompt set that a scorer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PromptKey(pub u64);

/// Names a head that a scorer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeadKey(pub u64);

/// What a scorer is.
#[derive(Debug, Clone, PartialEq)]
pub struct ScorerInfo {
    /// The backbone.
    pub backbone: BackboneInfo,
    /// Where it computes, such as `cpu` or `cuda:0`.
    pub device: String,
    /// Number format of the backbone.
    pub precision: Precision,
    /// Images of a batch that suit the device.
    pub batch_size: usize,
}

/// What a head is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadInfo {
    /// Digest of its file.
    pub digest: String,
    /// Its kind.
    pub kind: HeadKind,
}

/// One image to score.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The image.
    pub pixels: &'a Pixels,
    /// Features that were encoded before.
    pub prompts: PromptKey,
    /// A head that was loaded before.
    pub head: HeadKey,
    /// Another that scores it besides, on the same pass of the backbone.
    pub shadow: Option<HeadKey>,
}

/// What became of a query.
#[derive(Debug, Clone)]
pub struct QueryScores {
    /// Of its head.
    pub scores: Result<Scores, ScorerError>,
    /// Of its shadow, where it has one.
    pub shadow: Option<Result<Scores, ScorerError>>,
}

/// What became of a batch.
#[derive(Debug, Clone)]
pub struct Scored {
    /// One entry a query, in their order.
    pub queries: Vec<QueryScores>,
    /// Time of the backbone.
    pub backbone: Duration,
}

/// Scores queries. Lives on one thread; every call is given back before the next.
pub trait Scorer {
    /// What it is.
    fn info(&self) -> &ScorerInfo;

    /// Computes something small; fails when the device does not work.
    fn probe(&mut self) -> Result<(), ScorerError>;

    /// Encodes the next few text prompts of an object class, and keeps their features by its name for the prompt sets of
    /// that class; true once all are encoded. A step takes about as long as a query.
    fn encode_text(&mut self, object_class: &str) -> Result<bool, ScorerError>;

    /// Encodes a prompt set and holds its features under `key`; answers with their size in bytes. Text prompts that are
    /// not encoded yet are.
    fn encode_prompts(
        &mut self,
        key: PromptKey,
        images: &[Pixels],
        object_class: &str,
    ) -> Result<usize, ScorerError>;

    /// Lets go of features.
    fn forget_prompts(&mut self, key: PromptKey);

    /// Reads a head file's bytes, checks it against the backbone, holds it under `key`.
    fn load_head(&mut self, key: HeadKey, bytes: &[u8]) -> Result<HeadInfo, ScorerError>;

    /// What a loaded head says of the queries of a self-test file.
    fn self_test(&mut self, key: HeadKey, test: &[u8]) -> Result<Vec<f32>, ScorerError>;

    /// Lets go of a head.
    fn forget_head(&mut self, key: HeadKey);

    /// Scores a batch of any mixture of prompt sets and heads. The score of a query does not depend on the others.
    fn score(&mut self, queries: &[Query<'_>]) -> Result<Scored, ScorerError>;
}

/// What a scorer computes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// So many images in one batch.
    Images(usize),
    /// A few text prompts.
    Text,
    /// A head that is loaded.
    Head,
    /// The queries of a self-test.
    SelfTest,
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Images(1) => f.write_str("one image"),
            Self::Images(images) => write!(f, "a batch of {images} images"),
            Self::Text => f.write_str("the text prompts of an object class"),
            Self::Head => f.write_str("the head"),
            Self::SelfTest => f.write_str("the images of a self-test"),
        }
    }
}

/// Why a scorer could not do something.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ScorerError {
    /// The work does not fit the device.
    #[error("device memory does not hold {work}")]
    OutOfMemory {
        /// What was to be computed.
        work: Work,
    },
    /// The head cannot be used, or not with this backbone or prompt set.
    #[error("head cannot be used")]
    Head(#[source] Arc<HeadError>),
    /// A self-test cannot be read or run.
    #[error("self-test cannot be run")]
    SelfTest(#[source] Arc<SelfTestError>),
    /// The backbone could not compute.
    #[error("backbone failed to compute")]
    Backbone(#[source] Arc<dyn Error + Send + Sync>),
    /// Features, and with them any head's score, are NaN or infinite.
    #[error("features of the image or its prompt set are not finite")]
    NotFinite,
    /// A key that this scorer does not hold.
    #[error("scorer does not hold {what}")]
    Unknown {
        /// What was asked for.
        what: String,
    },
    /// The scorer panicked; the batch is lost.
    #[error("scorer panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// The scorer's thread has ended.
    #[error("scorer has ended")]
    Ended,
}

impl ScorerError {
    /// Whether the device or what computes on it failed, and may do so whatever it is asked.
    pub(crate) fn is_of_the_device(&self) -> bool {
        matches!(self, Self::Backbone(_) | Self::Panicked { .. })
    }

    /// Whether the head itself failed, so that it would fail again: not its query, its prompt set or the device.
    pub(crate) fn is_of_the_head(&self) -> bool {
        match self {
            Self::Head(error) => {
                matches!(**error, HeadError::NonFiniteScore { .. } | HeadError::Panicked { .. })
            }
            Self::OutOfMemory { .. }
            | Self::SelfTest(_)
            | Self::Backbone(_)
            | Self::NotFinite
            | Self::Unknown { .. }
            | Self::Panicked { .. }
            | Self::Ended => false,
        }
    }
}
