//! Why a job ended without an artifact, and the exit code that says whether another try can help.

use std::path::PathBuf;

use inctrl_model::device::DeviceError;
use inctrl_model::{BackboneError, HeadError, SelfTestError};
use inctrl_storage::digest::DigestError;
use inctrl_storage::{
    DatasetError, Digest, FetchError, ManifestError, PublishError, SignatureError, StoreError, Uri,
};
use inctrl_telemetry::LogError;

use crate::config::ConfigError;
use crate::data::DataError;
use crate::eval::EvalError;
use crate::exit::Exit;
use crate::features::FeatureError;
use crate::train::TrainError;

/// Why a job ended without an artifact.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The file of the job cannot be read.
    #[error("cannot read job {path:?}")]
    ReadSpec {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file of the job says something unknown.
    #[error("job {path:?} cannot be understood")]
    ParseSpec {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_yaml::Error,
    },
    /// It is of another version.
    #[error(
        "the job has schema {schema:?}, this trainer reads {:?}; run operator and trainer of one version",
        super::spec::SCHEMA
    )]
    Schema {
        /// Its schema.
        schema: String,
    },
    /// A run's key that cannot be part of a file's name.
    #[error("runKey is {key:?}; it must be letters, digits and -")]
    RunKey {
        /// What was given.
        key: String,
    },
    /// Not a number.
    #[error("learningRate is {text:?}; write a decimal such as \"0.001\"")]
    LearningRate {
        /// What was given.
        text: String,
    },
    /// A pin that is none.
    #[error("a sha256 of the job cannot be read")]
    Digest {
        /// Why.
        #[source]
        source: DigestError,
    },
    /// Settings that no run can have.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Logs could not be set up.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Threads or signals are not to be had.
    #[error("cannot listen for signals")]
    Runtime {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A mounted Secret cannot be read.
    #[error("cannot read the settings in {folder:?}; check the Secret and how it is mounted")]
    Secret {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The signing key cannot be read.
    #[error("cannot read the signing key {path:?}; its Secret must have a key.pem")]
    ReadKey {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The signing key is none.
    #[error("signing key {path:?} cannot be used")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SignatureError,
    },
    /// A store said no, or nothing.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A data set or the backbone has no listing, or is not what is pinned.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Something could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A data set is not the one that the run was decided on.
    #[error(
        "data set {uri} is {found}, the run was decided on {expected}; it changed, and a run of what it is now follows"
    )]
    DataChanged {
        /// The data set.
        uri: Uri,
        /// As it was.
        expected: Digest,
        /// As it is.
        found: Digest,
    },
    /// One object where a folder is needed.
    #[error("data set {uri} is one object; unpack it, and name the folder of its images")]
    NoFolder {
        /// The data set.
        uri: Uri,
    },
    /// Another run's artifact is where this one's should go.
    #[error("{uri} holds the artifact of another run; give every run a folder of its own")]
    OtherRun {
        /// The folder.
        uri: Uri,
    },
    /// The images cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Nothing where the backbone should be.
    #[error("there is no backbone at {uri}; check the path, and that its volume is mounted")]
    NoBackbone {
        /// Where it should be.
        uri: Uri,
    },
    /// Another backbone than the pinned one.
    #[error(
        "backbone {uri} has content digest {found}, but {expected} is pinned; pin what is there, or restore it"
    )]
    OtherBackbone {
        /// The backbone.
        uri: Uri,
        /// As pinned.
        expected: Digest,
        /// As found.
        found: Digest,
    },
    /// There is no such device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The backbone cannot be opened.
    #[error("backbone {folder:?} cannot be used")]
    Backbone {
        /// Its folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: BackboneError,
    },
    /// Features could not be had.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The training run failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The gate's data set says nothing about a head.
    #[error("the head cannot be evaluated on the gate's data set")]
    Gate(#[from] EvalError),
    /// No self-test can be made.
    #[error("no self-test can be made of the gate's images")]
    SelfTest(#[from] SelfTestError),
    /// A head cannot be opened, or cannot score.
    #[error("a head cannot be used")]
    Head(#[from] HeadError),
    /// The gate's data set gave no figure.
    #[error("the gate's data set has no protocol to evaluate; give one with normal and anomalous images")]
    NothingEvaluated,
    /// Training has seen something of every row of the gate's data set.
    #[error(
        "the gate's data set {root:?} says of itself that training has seen something of every row; give one with \
         families and defects that training does not have"
    )]
    NothingUnseen {
        /// The data set.
        root: PathBuf,
    },
    /// No category of the gate's data set has the images of a self-test.
    #[error(
        "no category of the gate's data set {root:?} has {normals} normal images and {anomalous} labelled as anomalous, \
         which the artifact's self-test takes; add some"
    )]
    NoSelfTest {
        /// The data set.
        root: PathBuf,
        /// Normal images of a self-test.
        normals: usize,
        /// Its anomalous images.
        anomalous: usize,
    },
    /// The manifest of the training run cannot be used.
    #[error("manifest {path:?} cannot be used")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A file of this machine cannot be read back.
    #[error("cannot read {path:?}")]
    ReadBack {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The artifact could not be written, or is damaged.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Told to stop; what was done is kept.
    #[error("told to stop; the next try goes on from the last epoch that was kept")]
    Stopped,
}

impl JobError {
    /// What the exit code says.
    pub fn exit(&self) -> Exit {
        match self {
            Self::ReadSpec { .. }
            | Self::ParseSpec { .. }
            | Self::Schema { .. }
            | Self::RunKey { .. }
            | Self::LearningRate { .. }
            | Self::Digest { .. }
            | Self::Config(_)
            | Self::Log(_)
            | Self::Secret { .. }
            | Self::ReadKey { .. }
            | Self::Key { .. }
            | Self::OtherRun { .. }
            | Self::NoBackbone { .. }
            | Self::OtherBackbone { .. }
            | Self::Device(_)
            | Self::Backbone { .. }
            | Self::SelfTest(_)
            | Self::Head(_) => Exit::Config,
            Self::Runtime { .. } | Self::ReadBack { .. } | Self::Manifest { .. } | Self::Stopped => {
                Exit::TryAgain
            }
            Self::DataChanged { .. }
            | Self::NoFolder { .. }
            | Self::NothingEvaluated
            | Self::NothingUnseen { .. }
            | Self::NoSelfTest { .. }
            | Self::Data(_)
            | Self::Features(FeatureError::ReadImage { .. } | FeatureError::Image { .. }) => Exit::BadData,
            Self::Store(error) => of_store(error),
            Self::Dataset(error) => of_dataset(error),
            Self::Fetch(error) => of_fetch(error),
            Self::Publish(error) => of_publish(error),
            Self::Features(_) => Exit::TryAgain,
            Self::Train(error) => error_or(error.exit()),
            Self::Gate(error) => error_or(error.exit()),
        }
    }

    /// One word for a machine.
    pub fn reason(&self) -> &'static str {
        match self.exit() {
            Exit::Done => "Done",
            Exit::Failed | Exit::TryAgain => "TryAgain",
            Exit::Usage | Exit::Config => "BadConfig",
            Exit::BadData => "BadData",
        }
    }
}

/// In a Job what the machine's own state decided is worth another try.
fn error_or(exit: Exit) -> Exit {
    if exit == Exit::Failed { Exit::TryAgain } else { exit }
}

fn of_store(error: &StoreError) -> Exit {
    match error {
        StoreError::ReadLocal { .. } => Exit::TryAgain,
        other if other.is_transient() => Exit::TryAgain,
        _ => Exit::Config,
    }
}

fn of_dataset(error: &DatasetError) -> Exit {
    match error {
        DatasetError::List { source, .. } | DatasetError::Read { source, .. } => of_store(source),
        DatasetError::Empty { .. } | DatasetError::OtherContent { .. } => Exit::BadData,
        _ => Exit::Config,
    }
}

fn of_fetch(error: &FetchError) -> Exit {
    match error {
        FetchError::Store { source, .. } => of_store(source),
        FetchError::List { source, .. } => of_dataset(source),
        FetchError::Write { .. } => Exit::TryAgain,
        _ => Exit::Config,
    }
}

fn of_publish(error: &PublishError) -> Exit {
    match error {
        PublishError::Store { source } => of_store(source),
        PublishError::ReadPart { .. } | PublishError::PartChanged { .. } => Exit::TryAgain,
        _ => Exit::Config,
    }
}
