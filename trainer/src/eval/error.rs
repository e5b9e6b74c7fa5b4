//! Why an evaluation could not be made.

use std::path::PathBuf;

use inctrl_model::device::DeviceError;
use inctrl_model::{BackboneError, HeadError};
use inctrl_storage::SettingsError;
use inctrl_telemetry::LogError;

use crate::data::DataError;
use crate::exit::Exit;
use crate::features::FeatureError;
use crate::metrics::MetricError;

/// What is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The configuration file cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Logs could not be set up.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// There is no such device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The backbone cannot be opened, or refused an image.
    #[error("the backbone cannot be used")]
    Backbone(#[source] BackboneError),
    /// A head cannot be opened, or does not go with the backbone.
    #[error("head {name:?} cannot be used")]
    Head {
        /// Its name in the report.
        name: String,
        /// Why not.
        #[source]
        source: HeadError,
    },
    /// A data set cannot be read, or is not fit for evaluation.
    #[error(transparent)]
    Data(DataError),
    /// Tasks that cannot fill a prompt set.
    #[error(
        "data set {dataset:?} cannot give prompt sets of {shots} normal images: {}; lower `shots`, add normal \
         images, or choose others with `categories`", short.join(", ")
    )]
    TooFewNormals {
        /// The data set.
        dataset: String,
        /// Largest number of shots asked for.
        shots: usize,
        /// Each task that is short of images: what it has and needs.
        short: Vec<String>,
    },
    /// Tasks whose queries are all of one label.
    #[error(
        "data set {dataset:?} has no {what} queries in {}; no metric is defined there: add some, or choose other \
         `categories`", categories.join(", ")
    )]
    OneLabel {
        /// The data set.
        dataset: String,
        /// The label that is missing.
        what: &'static str,
        /// Where.
        categories: Vec<String>,
    },
    /// A draw whose prompts are all the queries that there are of one label, or copies of them.
    #[error(
        "draw {draw} of {task} in data set {dataset:?} leaves no {what} query that is not among its prompts; raise \
         `queries`, lower `shots`, or add {what} images"
    )]
    OneLabelDraw {
        /// The data set.
        dataset: String,
        /// The task.
        task: String,
        /// Number of the draw.
        draw: usize,
        /// The label that is missing.
        what: &'static str,
    },
    /// Features could not be had.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// A mask is not of its image's size.
    #[error(
        "mask {mask:?} has {} x {} pixels, its image {image:?} has {} x {}; export one of them again",
        mask_size.0, mask_size.1, image_size.0, image_size.1
    )]
    MaskSize {
        /// The mask.
        mask: PathBuf,
        /// Its image.
        image: PathBuf,
        /// Width and height of the mask.
        mask_size: (u32, u32),
        /// Width and height of the image.
        image_size: (u32, u32),
    },
    /// The synthetic benchmark's description of itself cannot be used.
    #[error("{path:?} does not describe this data set: {reason}; make the data set again with `synth`")]
    SynthManifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Scores give no metric.
    #[error("no metrics for {what}")]
    Metric {
        /// Which scores.
        what: String,
        /// Why.
        #[source]
        source: MetricError,
    },
    /// A backbone of drawn weights could not be made.
    #[error("cannot make a copy of backbone {folder:?} with drawn weights: {reason}")]
    DrawnBackbone {
        /// The original.
        folder: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A result could not be written.
    #[error("cannot write {path:?}; check that the folder can be written and has room")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Who asked for it wants it no more.
    #[error("told to stop")]
    Stopped,
}

impl EvalError {
    /// How the program ends because of it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Settings(_) | Self::Log(_) | Self::Device(_) => Exit::Usage,
            Self::Backbone(_)
            | Self::Head { .. }
            | Self::Data(_)
            | Self::TooFewNormals { .. }
            | Self::OneLabel { .. }
            | Self::OneLabelDraw { .. }
            | Self::MaskSize { .. }
            | Self::SynthManifest { .. }
            | Self::Metric { .. }
            | Self::DrawnBackbone { .. } => Exit::BadData,
            Self::Features(error) => match error {
                FeatureError::ReadImage { .. } | FeatureError::Image { .. } => Exit::BadData,
                FeatureError::DiskFull { .. } | FeatureError::Cache { .. } | FeatureError::Encode { .. } => {
                    Exit::Failed
                }
            },
            Self::Write { .. } => Exit::Failed,
            Self::Stopped => Exit::TryAgain,
        }
    }
}
