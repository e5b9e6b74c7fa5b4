//! What the planner is told of the world: plain values without handles, so that a test can make any of them up.

use std::collections::BTreeMap;

use inctrl_proto::v1::{HeadProblem, HeadState};
use jiff::Timestamp;

use crate::crd::conditions::reason;
use crate::crd::{InCTRLModelStatus, RevisionMetric};

/// Everything that the planner may look at besides spec and time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// Name of the object.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// Generation of its spec.
    pub generation: i64,
    /// Whether it has our finalizer.
    pub has_finalizer: bool,
    /// When its deletion was asked for.
    pub deleted_at: Option<Timestamp>,
    /// Value of the annotation that asks for a run.
    pub retrain_at: Option<String>,
    /// Its status as it was last written.
    pub status: InCTRLModelStatus,
    /// The Jobs that it owns.
    pub jobs: Vec<JobView>,
    /// Why the API server refuses to make the Job of the newest run, where it does.
    pub refused: Option<Trouble>,
    /// Newest look at the training data set; none since the operator started.
    pub dataset: Option<Look<DatasetView>>,
    /// Newest look at the artifact of each run, by run key.
    pub artifacts: BTreeMap<String, Look<ArtifactView>>,
    /// The selected scoring servers, by name. None: not looked yet.
    pub servers: Option<Vec<ServerView>>,
    /// Why servers that it selects are not told of it, where that is so; those are not among `servers`.
    pub unserved: Option<Trouble>,
    /// How far the clean-up of a deleted object is.
    pub cleanup: CleanupView,
}

/// The answer to a question that was asked of the outside, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Look<T> {
    /// When it was answered.
    pub at: Timestamp,
    /// How often in a row it could not be answered.
    pub failures: u32,
    /// The answer.
    pub found: Result<T, Trouble>,
}

/// Why a question could not be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// One word, as a condition's reason.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Trouble {
    /// A Secret that the spec names is not there.
    pub fn no_secret(name: &str) -> Self {
        Self { reason: "SecretNotFound", message: format!("there is no Secret {name} in this namespace") }
    }
}

/// A data set as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetView {
    /// "sha256:" and the fingerprint.
    pub fingerprint: String,
    /// Number of objects, where they were listed.
    pub objects: Option<i64>,
    /// Sum of their sizes.
    pub bytes: Option<i64>,
}

/// A Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// Key of the run that it is for.
    pub run_key: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether its spec says to hold.
    pub suspended: bool,
    /// Whether it may be collected by time.
    pub has_ttl: bool,
    /// How far it is.
    pub state: JobState,
}

/// How far a Job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Not ended.
    Active {
        /// When its first pod was made.
        started_at: Option<Timestamp>,
        /// Percent, as the trainer says.
        progress: Option<i64>,
        /// What keeps its pod from running, where that is known.
        blocked: Option<Trouble>,
    },
    /// Ended well.
    Complete {
        /// When.
        at: Option<Timestamp>,
    },
    /// Ended badly.
    Failed {
        /// When.
        at: Option<Timestamp>,
        /// Why.
        class: FailureClass,
        /// For people, from the trainer where it said something.
        message: String,
    },
}

/// Why a run failed, as far as that decides what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureClass {
    /// Exit code 64 or 78: what the run was told cannot be done.
    BadConfig,
    /// Exit code 65: what the data set holds cannot be trained on.
    BadData,
    /// Memory ran out.
    OutOfMemory,
    /// It took longer than it may.
    Deadline,
    /// The artifact is not what was asked for, or not signed by whom it should be.
    WrongArtifact,
    /// It ended well and left no artifact.
    ArtifactMissing,
    /// The Job is gone, and nobody recorded how it ended.
    JobLost,
    /// Anything else: nodes, network, stores.
    Infrastructure,
}

impl FailureClass {
    /// Whether the same run may do better later. What lies in spec or data set does not get better by itself.
    pub fn is_transient(self) -> bool {
        match self {
            Self::ArtifactMissing | Self::JobLost | Self::Infrastructure => true,
            Self::BadConfig | Self::BadData | Self::OutOfMemory | Self::Deadline | Self::WrongArtifact => {
                false
            }
        }
    }

    /// As a condition's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadConfig => "BadConfig",
            Self::BadData => "BadData",
            Self::OutOfMemory => "OOMKilled",
            Self::Deadline => "DeadlineExceeded",
            Self::WrongArtifact => reason::DIGEST_MISMATCH,
            Self::ArtifactMissing => reason::ARTIFACT_MISSING,
            Self::JobLost => "JobLost",
            Self::Infrastructure => "JobFailed",
        }
    }

    /// What a person can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::BadConfig => "correct the spec; a changed spec trains again",
            Self::BadData => "correct the data set, then change the spec or annotate inctrl.dev/retrain-at",
            Self::OutOfMemory => {
                "raise spec.training.resources.limits.memory, then annotate inctrl.dev/retrain-at"
            }
            Self::Deadline => {
                "raise spec.training.activeDeadlineSeconds, then annotate inctrl.dev/retrain-at"
            }
            Self::WrongArtifact => {
                "see who writes to the artifact store, then annotate inctrl.dev/retrain-at"
            }
            Self::ArtifactMissing | Self::JobLost | Self::Infrastructure => "it is tried again",
        }
    }
}

/// A published head, its manifest verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactView {
    /// "sha256:" and the digest of the head.
    pub digest: String,
    /// Folder of the artifact.
    pub uri: String,
    /// Run key that the manifest says.
    pub run_key: Option<String>,
    /// Spec hash that it says, 64 hexadecimal digits.
    pub spec_hash: Option<String>,
    /// Fingerprint of the data set that it says was read.
    pub dataset_fingerprint: String,
    /// Digest of the backbone's files that it says were read, 64 hexadecimal digits.
    pub backbone_sha256: Option<String>,
    /// Digest of the backbone.
    pub backbone_digest: String,
    /// When the run ended.
    pub created_at: Timestamp,
    /// What the head showed on the gate data set.
    pub gate: Option<GateView>,
}

/// What a head showed on the gate data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateView {
    /// Fingerprint of the gate data set.
    pub fingerprint: String,
    /// Images scored.
    pub samples: i64,
    /// The head's metrics.
    pub candidate: Vec<RevisionMetric>,
    /// The metrics of the head that was active, on the same images, with its digest.
    pub active: Option<(String, Vec<RevisionMetric>)>,
}

/// A scoring server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServerView {
    /// Name of its pod.
    pub name: String,
    /// What it reports of this model; none when it does not answer.
    pub report: Option<ServerReport>,
}

/// What a server reports of one model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServerReport {
    /// Whether it has accepted what it was last told of this model.
    pub knows_model: bool,
    /// Percent of requests that the candidate answers.
    pub weight: i64,
    /// Its heads.
    pub heads: Vec<HeadView>,
    /// Scores of candidate and active on the same images.
    pub paired: Option<PairedView>,
}

/// What a head is to a model on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Answers.
    Active,
    /// Is tried.
    Candidate,
    /// Is kept for a return.
    Standby,
}

/// One head on a server.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadView {
    /// "sha256:" and the digest.
    pub digest: String,
    /// What it is.
    pub role: Role,
    /// How far it is.
    pub state: HeadState,
    /// Why it was refused or taken out.
    pub problem: HeadProblem,
    /// The same for people.
    pub message: String,
    /// Queries since it was loaded.
    pub requests: i64,
    /// Of these, failed.
    pub errors: i64,
    /// Times of queries.
    pub latency: Latency,
}

/// Counts by time: (upper bound in seconds, count), and the count of everything above.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latency {
    /// Buckets by rising bound.
    pub buckets: Vec<(f64, i64)>,
    /// Above the last bound.
    pub above: i64,
}

/// How the candidate's scores differ from the active head's on the same images.
#[derive(Debug, Clone, PartialEq)]
pub struct PairedView {
    /// Digest of the candidate.
    pub candidate: String,
    /// Images that both scored.
    pub count: i64,
    /// Mean of the absolute difference.
    pub mean_absolute_difference: f64,
}

/// How far the clean-up of a deleted object is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanupView {
    /// Whether every server has dropped the model; one that is silent has not.
    pub servers_done: bool,
    /// What became of the artifacts, where they were to be deleted: how many folders went, or what is left and why.
    pub artifacts: Option<Result<usize, String>>,
}

impl ServerReport {
    /// The head with this digest in this role.
    pub fn head(&self, role: Role, digest: &str) -> Option<&HeadView> {
        self.heads.iter().find(|head| head.role == role && head.digest == digest)
    }

    /// Whether the head with this digest is loaded in this role.
    pub fn has_loaded(&self, role: Role, digest: &str) -> bool {
        self.head(role, digest).is_some_and(|head| head.state == HeadState::Loaded)
    }
}

impl Latency {
    /// Adds the counts of another server. Servers of one version have the same bounds; others are merged by bound.
    pub fn add(&mut self, other: &Self) {
        for &(bound, count) in &other.buckets {
            match self.buckets.iter().position(|(known, _)| *known >= bound) {
                Some(place) if self.buckets[place].0 <= bound => self.buckets[place].1 += count,
                Some(place) => self.buckets.insert(place, (bound, count)),
                None => self.buckets.push((bound, count)),
            }
        }
        self.above += other.above;
    }

    /// Upper bound of the bucket that holds a quantile, in milliseconds; none without counts, the largest number when it is
    /// above every bound.
    pub fn quantile_millis(&self, quantile: f64) -> Option<f64> {
        let total = self.buckets.iter().map(|(_, count)| count).sum::<i64>() + self.above;
        if total <= 0 {
            return None;
        }
        let wanted = (quantile * total as f64).ceil() as i64;
        let mut seen = 0;
        for (bound, count) in &self.buckets {
            seen += count;
            if seen >= wanted {
                return Some(bound * 1000.0);
            }
        }
        Some(f64::INFINITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_of_servers_add_up_by_bound() {
        let mut all = Latency { buckets: vec![(0.01, 90), (0.1, 8)], above: 0 };
        all.add(&Latency { buckets: vec![(0.01, 0), (0.05, 1), (0.1, 1)], above: 1 });
        assert_eq!(all.buckets, [(0.01, 90), (0.05, 1), (0.1, 9)]);
        assert_eq!(all.quantile_millis(0.5), Some(10.0));
        assert_eq!(all.quantile_millis(0.99), Some(100.0));
        assert_eq!(all.quantile_millis(1.0), Some(f64::INFINITY));
        assert_eq!(Latency::default().quantile_millis(0.99), None);
    }
}
