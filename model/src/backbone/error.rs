//! Why a backbone could not be opened, or could not encode.

use std::path::PathBuf;

use super::weights::WeightsError;
use crate::tokenizer::VocabularyError;

/// Why a backbone folder could not be opened, or the backbone could not encode.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackboneError {
    /// The folder holds no configuration of either kind.
    #[error(
        "{folder:?} is no backbone folder: it must hold open_clip_config.json, open_clip_model.safetensors and a \
         vocabulary (tokenizer.json or bpe_simple_vocab_16e6.txt.gz), or backbone_config.json and model.safetensors"
    )]
    NotABackbone {
        /// The folder.
        folder: PathBuf,
    },
    /// A file that goes with the configuration is absent.
    #[error("backbone folder {folder:?} has no {file}")]
    MissingFile {
        /// The folder.
        folder: PathBuf,
        /// What it must hold besides.
        file: &'static str,
    },
    /// The configuration could not be read.
    #[error("cannot read backbone configuration {path:?}")]
    ReadConfig {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The configuration is not of the expected form.
    #[error("backbone configuration {path:?} is malformed")]
    MalformedConfig {
        /// The file.
        path: PathBuf,
        /// Where and how.
        #[source]
        source: serde_json::Error,
    },
    /// The configuration asks for what this build cannot compute.
    #[error("backbone configuration {path:?}: {reason}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Which setting, and what is supported.
        reason: String,
    },
    /// The vocabulary could not be had.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    /// The weights could not be read or do not fit the architecture.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Pixels of another shape than the backbone takes.
    #[error(
        "pixels have the shape {actual:?}, the backbone takes [B, 3, {size}, {size}] with B of at least 1"
    )]
    PixelShape {
        /// Side of the square that the backbone examines.
        size: u32,
        /// What was given.
        actual: Vec<i64>,
    },
    /// libtorch refused an operation.
    #[error("libtorch failed in {step}")]
    Torch {
        /// What was being done.
        step: &'static str,
        /// What libtorch said.
        #[source]
        source: tch::TchError,
    },
}
