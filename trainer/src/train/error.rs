//! Why a training run ended without a head.

use std::path::PathBuf;

use inctrl_model::device::DeviceError;
use inctrl_model::{BackboneError, HeadError};
use inctrl_storage::{ManifestError, SettingsError, UriError};
use inctrl_telemetry::LogError;

use crate::config::ConfigError;
use crate::data::DataError;
use crate::episodes::EpisodeError;
use crate::exit::Exit;
use crate::features::FeatureError;

/// Why a training run ended without a head.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The configuration file cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Settings that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Logs could not be set up.
    #[error(transparent)]
    Log(#[from] LogError),
    /// There is no such device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The backbone could not be opened, or refused.
    #[error("backbone {folder:?} cannot be used")]
    Backbone {
        /// Its folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: BackboneError,
    },
    /// A data set cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Features could not be had.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// No episodes can be drawn.
    #[error("no episodes can be drawn from the training classes")]
    Episodes(#[from] EpisodeError),
    /// A loss that is no number.
    #[error(
        "the loss is {loss} in epoch {epoch}, step {step}, first at query {query:?} with prompt set {prompts:?} of \
         class {class:?}; look at these images, or lower `training.learning_rate`"
    )]
    NonFiniteLoss {
        /// Epoch, counted from 1.
        epoch: u64,
        /// Step in the epoch, counted from 1.
        step: usize,
        /// The loss.
        loss: f64,
        /// The first query whose logits are not finite, or the step's first.
        query: PathBuf,
        /// Its prompt set.
        prompts: Vec<PathBuf>,
        /// Class of the prompt set.
        class: String,
    },
    /// The output folder or a file in it cannot be written.
    #[error("cannot write {path:?}; make room, check its permissions, or give another --out")]
    Output {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The output folder holds a finished head of other settings.
    #[error(
        "{folder:?} holds a head that was trained with another {}; give another --out, or remove it",
        differences.join(", ")
    )]
    OtherHead {
        /// The folder.
        folder: PathBuf,
        /// Settings that differ.
        differences: Vec<String>,
    },
    /// The output folder's head is gone or was changed since its manifest was written.
    #[error(
        "{path:?} is not the head that the manifest beside it names; restore it, or remove the folder to train anew"
    )]
    DamagedHead {
        /// The head's file.
        path: PathBuf,
    },
    /// The output folder holds the checkpoint of other settings.
    #[error(
        "checkpoint {path:?} is of a run with another {}; give another --out, or --restart to begin anew",
        differences.join(", ")
    )]
    OtherCheckpoint {
        /// The file.
        path: PathBuf,
        /// Settings that differ.
        differences: Vec<String>,
    },
    /// The checkpoint is damaged.
    #[error("checkpoint {path:?} cannot be used: {reason}; give --restart to begin anew")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The trained tensors are no head.
    #[error("the trained tensors cannot be a head")]
    Head(#[from] HeadError),
    /// There is a manifest that cannot be read, or none could be made.
    #[error("manifest {path:?} cannot be used")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A path that no manifest can name.
    #[error("the data set's place cannot be named in the manifest")]
    Place(#[from] UriError),
}

impl TrainError {
    /// How the program ends with this.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Settings(_) | Self::Config(_) | Self::Log(_) | Self::Device(_) => Exit::Usage,
            Self::Features(
                FeatureError::DiskFull { .. } | FeatureError::Cache { .. } | FeatureError::Encode { .. },
            )
            | Self::Output { .. } => Exit::Failed,
            Self::Backbone { .. }
            | Self::Data(_)
            | Self::Features(_)
            | Self::Episodes(_)
            | Self::NonFiniteLoss { .. }
            | Self::OtherHead { .. }
            | Self::DamagedHead { .. }
            | Self::OtherCheckpoint { .. }
            | Self::Checkpoint { .. }
            | Self::Head(_)
            | Self::Manifest { .. }
            | Self::Place(_) => Exit::BadData,
        }
    }
}
