//! Why prompt sets could not be kept or read.

use std::io;
use std::path::PathBuf;

use super::super::file;

/// Why prompt sets could not be kept or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The state folder cannot be used.
    #[error("state folder {path:?} cannot be used: {step} failed; choose a writable one with --state-dir")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A prompt set cannot be read, and may be whole.
    #[error(
        "prompt set {path:?} cannot be read; mend what stands in the way, or move the file elsewhere to serve without it"
    )]
    Read {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A prompt set that another version of the server has written.
    #[error(
        "prompt set {path:?} has version {version}, this server reads {}; serve with the version that wrote it, or \
         move the file elsewhere",
        file::VERSION
    )]
    OtherVersion {
        /// Its file.
        path: PathBuf,
        /// Version of its format.
        version: u32,
    },
    /// Another server uses the state folder.
    #[error("state folder {path:?} is used by another server; stop it, or choose another with --state-dir")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A prompt set could not be written; nothing is left of it.
    #[error("prompt set {name:?} cannot be stored")]
    Write {
        /// Its name.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A prompt set could not be removed.
    #[error("prompt set {name:?} cannot be deleted")]
    Delete {
        /// Its name.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What is on disk is not what was stored.
    #[error("prompt set {name:?} is damaged on disk; delete it and create it again")]
    Damaged {
        /// Its name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
}
