//! Why a checkpoint could not be converted.

use std::path::PathBuf;

use inctrl_model::{BackboneError, HeadError};

use super::checkpoint::CheckpointError;
use crate::exit::Exit;

/// Why a checkpoint could not be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// Neither a folder to make nor one to compare with.
    #[error(
        "give --into FOLDER for a new backbone folder, or --backbone FOLDER and --head FILE for the head alone"
    )]
    NoOutput,
    /// The checkpoint cannot be read.
    #[error("checkpoint {path:?} cannot be converted")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CheckpointError,
    },
    /// Names of tensors of no known kind.
    #[error("checkpoint {path:?} is of no known kind: {reason}")]
    UnknownLayout {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        reason: String,
    },
    /// A checkpoint with a head, and no name for it.
    #[error("checkpoint {path:?} holds a head: say where to write it with --head FILE")]
    HeadUnnamed {
        /// The file.
        path: PathBuf,
    },
    /// A head is asked for, and there is none.
    #[error("checkpoint {path:?} is {layout} and holds no head; leave --head out")]
    NoHead {
        /// The file.
        path: PathBuf,
        /// Which kind it is.
        layout: &'static str,
    },
    /// A CLIP without its vocabulary.
    #[error(
        "a CLIP needs its vocabulary: give --vocabulary with bpe_simple_vocab_16e6.txt.gz (in the open_clip package \
         and in the authors' repository) or tokenizer.json"
    )]
    NoVocabulary,
    /// A setting of a CLIP, and the checkpoint is none.
    #[error("checkpoint {path:?} is {layout}, which takes no {flag}; leave it out")]
    Surplus {
        /// The file.
        path: PathBuf,
        /// Which kind it is.
        layout: &'static str,
        /// The flag.
        flag: &'static str,
    },
    /// A vocabulary of another name than a backbone folder knows.
    #[error("vocabulary {path:?} must be named bpe_simple_vocab_16e6.txt.gz or tokenizer.json")]
    UnknownVocabulary {
        /// The file.
        path: PathBuf,
    },
    /// A configuration or a vocabulary cannot be read.
    #[error("cannot read {path:?}")]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A configuration is no JSON object.
    #[error("configuration {path:?} is no JSON object of open_clip")]
    Config {
        /// The file.
        path: PathBuf,
        /// Where and how.
        #[source]
        source: serde_json::Error,
    },
    /// The folder to make is there.
    #[error("{path:?} is there already; remove it, or choose another folder")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The tensors do not fit the configuration.
    #[error(
        "checkpoint {path:?} does not fit its architecture (a CLIP other than ViT-B-16-plus-240 needs its --config)"
    )]
    DoesNotFit {
        /// The checkpoint.
        path: PathBuf,
        /// Which tensors.
        #[source]
        source: BackboneError,
    },
    /// The folder to compare with cannot be opened.
    #[error(
        "backbone folder {folder:?} cannot be used; name one with --backbone, or make one with --into FOLDER"
    )]
    Backbone {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: BackboneError,
    },
    /// The checkpoint was trained on another CLIP than the folder's.
    #[error(
        "checkpoint {path:?} was trained on another backbone than {backbone:?}: {} differ. Make its own with --into \
         FOLDER",
        shown(names)
    )]
    OtherBackbone {
        /// The checkpoint.
        path: PathBuf,
        /// The folder.
        backbone: PathBuf,
        /// Tensors with other shapes or values.
        names: Vec<String>,
    },
    /// The head's tensors cannot be used.
    #[error("the head of checkpoint {path:?} cannot be used")]
    Head {
        /// The checkpoint.
        path: PathBuf,
        /// Why.
        #[source]
        source: HeadError,
    },
    /// An output cannot be written.
    #[error("cannot write {path:?}; nothing was left there. Check the disk's space and your permissions")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl ConvertError {
    /// How the program ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoOutput
            | Self::HeadUnnamed { .. }
            | Self::NoHead { .. }
            | Self::NoVocabulary
            | Self::Surplus { .. } => Exit::Usage,
            Self::Write { .. } | Self::Exists { .. } => Exit::Failed,
            Self::Checkpoint { .. }
            | Self::UnknownLayout { .. }
            | Self::UnknownVocabulary { .. }
            | Self::ReadFile { .. }
            | Self::Config { .. }
            | Self::DoesNotFit { .. }
            | Self::Backbone { .. }
            | Self::OtherBackbone { .. }
            | Self::Head { .. } => Exit::BadData,
        }
    }
}

/// The first few names, and how many more.
fn shown(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let first = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
