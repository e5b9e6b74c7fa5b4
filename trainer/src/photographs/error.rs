//! Why real images could not be laid out.

use std::path::PathBuf;

use crate::exit::Exit;

/// Why real images could not be laid out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhotographsError {
    /// There is something already.
    #[error("{out:?} is not empty; choose a new folder, or remove it")]
    Taken {
        /// The folder asked for.
        out: PathBuf,
    },
    /// A file that is needed cannot be read.
    #[error("cannot read {path:?}; `make photographs` brings the files of scikit-image and scikit-learn")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path:?} is not as expected: {reason}; fetch it again")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {path:?}; nothing was left behind. Check permissions and free space")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl PhotographsError {
    /// How the program ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Taken { .. } => Exit::Usage,
            Self::Content { .. } => Exit::BadData,
            Self::Read { .. } | Self::Write { .. } => Exit::Failed,
        }
    }
}
