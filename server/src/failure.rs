//! Why a request got no answer. One closed set: `grpc::status` gives each its code and details.

use std::sync::Arc;
use std::time::Duration;

use inctrl_model::ImageError;

use crate::ids::ResourceId;
use crate::prompts::StoreError;
use crate::scorer::ScorerError;

/// Why a request got no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// Fields that cannot be used.
    #[error("{}", join(.0))]
    Invalid(Vec<Violation>),
    /// An image that cannot be used.
    #[error("{field}: {source}")]
    Image {
        /// Its place in the request, such as `images[3]`.
        field: String,
        source: Arc<ImageError>,
    },
    /// There is nothing of that name.
    #[error("there is no {resource} {name:?}; {hint}")]
    NotFound { resource: Resource, name: String, hint: &'static str },
    /// The model is known, and no head answers for it.
    #[error("models/{model} has no head that answers yet; wait for its rollout")]
    NoHead { model: ResourceId },
    /// A newer command was accepted before this one.
    #[error(
        "epoch {} generation {} is behind {} / {}, the last accepted; nothing was changed", .given.0, .given.1, .known.0, .known.1
    )]
    StaleFence { given: (i64, i64), known: (i64, i64) },
    /// Two commands under one fence.
    #[error(
        "epoch {} generation {} was accepted with other models; count the generation up for a change", .fence.0, .fence.1
    )]
    FenceReused { fence: (i64, i64) },
    /// The name is taken by other content.
    #[error("{name:?} exists with other content ({digest}); delete it first, or choose another id")]
    AlreadyExists { name: String, digest: String },
    /// The resource has changed since the caller read it.
    #[error("{name:?} has etag {current:?}, not {given:?}; read it again")]
    StaleEtag { name: String, current: String, given: String },
    /// More bytes than one message may have.
    #[error("message has {size} bytes, the limit is {limit}; send smaller images or fewer of them")]
    MessageTooLarge { size: usize, limit: usize },
    /// More than the one message that a call has.
    #[error("a call has one message, and more came behind it; make a call for each")]
    SurplusMessage,
    /// A caller that was lost in the middle of its message.
    #[error("nothing of the message came for {} s; send it in one go", .limit.as_secs())]
    SilentCaller { limit: Duration },
    /// Commands that wait for each other.
    #[error("other rollout commands are being applied; try again, the newest wins")]
    RolloutBusy,
    /// No room for more work.
    #[error("{quota} is full (limit {limit}); try again in {} ms", .retry_after.as_millis())]
    Overloaded { quota: Quota, limit: usize, retry_after: Duration },
    /// The backbone is being loaded.
    #[error("server is starting: its backbone is not loaded yet")]
    Starting,
    /// The server is stopping.
    #[error("server is stopping; try another")]
    Draining,
    /// The caller's deadline is past, or cannot be met.
    #[error("{}", deadline(*.predicted_wait))]
    Deadline {
        /// The wait that the queue predicted, where that was the reason.
        predicted_wait: Option<Duration>,
    },
    /// No token, or none that is known.
    #[error("a bearer token of this server is needed, in metadata \"authorization: Bearer …\"")]
    Unauthenticated,
    /// A client certificate of somebody else.
    #[error("a client certificate that names {expected:?} is needed here")]
    Stranger { expected: String },
    /// The scorer could not do it.
    #[error(transparent)]
    Scorer(#[from] ScorerError),
    /// The prompt set could not be kept or read.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// Code of this server panicked.
    #[error("server failed while {doing}; its log has more")]
    Panicked { doing: &'static str },
}

/// A field that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Its path in the request.
    pub(crate) field: String,
    /// What is wrong and what to do.
    pub(crate) description: String,
}

/// What can be looked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    PromptSet,
    Model,
    Revision,
}

/// What can be full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quota {
    QueuedImages,
    InflightBytes,
    PendingPromptSets,
}

impl Failure {
    /// One field that cannot be used.
    pub(crate) fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation { field: field.into(), description: description.into() }])
    }

    /// The same, with an image's place within what stands at `field` of the request.
    pub(crate) fn within(self, field: &str) -> Self {
        match self {
            Self::Image { field: place, source } => Self::Image { field: format!("{field}{place}"), source },
            other => other,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PromptSet => "prompt set",
            Self::Model => "model",
            Self::Revision => "revision",
        })
    }
}

impl std::fmt::Display for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::QueuedImages => "queue of images",
            Self::InflightBytes => "budget of bytes in flight",
            Self::PendingPromptSets => "queue of prompt sets",
        })
    }
}

fn join(violations: &[Violation]) -> String {
    let parts = violations.iter().map(|violation| format!("{}: {}", violation.field, violation.description));
    parts.collect::<Vec<_>>().join("; ")
}

fn deadline(predicted_wait: Option<Duration>) -> String {
    match predicted_wait {
        None => "deadline exceeded".to_owned(),
        Some(wait) => format!("deadline cannot be met: the queue alone takes {} ms", wait.as_millis()),
    }
}
