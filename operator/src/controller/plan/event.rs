//! What is told to people as Kubernetes Events: transitions, each once.

/// A transition to tell of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Which.
    pub reason: EventReason,
    /// For people.
    pub note: String,
}

/// Which transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventReason {
    /// A run began.
    TrainingStarted,
    /// A run left a head.
    TrainingSucceeded,
    /// A run failed.
    TrainingFailed,
    /// The data set has another fingerprint.
    DatasetChanged,
    /// A head met all bounds.
    GatePassed,
    /// A head did not.
    GateFailed,
    /// The candidate answers a larger share.
    CanaryStep,
    /// The candidate became active.
    Promoted,
    /// A head was taken back.
    RolledBack,
    /// A candidate was given up for a newer spec.
    Superseded,
    /// A head waits for a person.
    ApprovalNeeded,
    /// A server refused a head.
    ServerLoadFailed,
    /// `spec.suspend` was set.
    Suspended,
    /// It was unset.
    Resumed,
    /// The servers hold a revision of the history.
    Pinned,
    /// The spec cannot be acted on.
    InvalidSpec,
    /// A deleted model's artifacts are gone.
    ArtifactsDeleted,
    /// A deleted model left something behind.
    CleanupIncomplete,
}

impl EventReason {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TrainingStarted => "TrainingStarted",
            Self::TrainingSucceeded => "TrainingSucceeded",
            Self::TrainingFailed => "TrainingFailed",
            Self::DatasetChanged => "DatasetChanged",
            Self::GatePassed => "GatePassed",
            Self::GateFailed => "GateFailed",
            Self::CanaryStep => "CanaryStep",
            Self::Promoted => "Promoted",
            Self::RolledBack => "RolledBack",
            Self::Superseded => "Superseded",
            Self::ApprovalNeeded => "ApprovalNeeded",
            Self::ServerLoadFailed => "ServerLoadFailed",
            Self::Suspended => "Suspended",
            Self::Resumed => "Resumed",
            Self::Pinned => "Pinned",
            Self::InvalidSpec => "InvalidSpec",
            Self::ArtifactsDeleted => "ArtifactsDeleted",
            Self::CleanupIncomplete => "CleanupIncomplete",
        }
    }

    /// Whether a person should look.
    pub fn is_warning(self) -> bool {
        match self {
            Self::TrainingFailed
            | Self::GateFailed
            | Self::RolledBack
            | Self::ServerLoadFailed
            | Self::InvalidSpec
            | Self::CleanupIncomplete => true,
            Self::TrainingStarted
            | Self::TrainingSucceeded
            | Self::DatasetChanged
            | Self::GatePassed
            | Self::CanaryStep
            | Self::Promoted
            | Self::Superseded
            | Self::ApprovalNeeded
            | Self::Suspended
            | Self::Resumed
            | Self::Pinned
            | Self::ArtifactsDeleted => false,
        }
    }
}
