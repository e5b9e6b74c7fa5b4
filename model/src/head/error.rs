//! Why a head could not be loaded or used.

use std::path::PathBuf;

use crate::backbone::WeightsMismatch;

use super::HeadKind;

/// Why a head could not be loaded or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The file could not be read.
    #[error("cannot read head {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file was read, but cannot be used.
    #[error("head {path:?} cannot be used")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<Self>,
    },
    /// Not safetensors, or without a head's metadata.
    #[error("not a head file: {reason}; give a head.safetensors of `inctrl-trainer train` or `convert`")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// Written by another version of this software.
    #[error("head file has format version {actual}, this program reads version {expected}")]
    OtherVersion {
        /// Version that is read.
        expected: u32,
        /// Version of the file.
        actual: u32,
    },
    /// Tensors differ from those that the metadata calls for.
    #[error("tensors do not fit a {kind} head on {backbone}: {mismatch}")]
    Mismatch {
        /// Kind in the metadata.
        kind: HeadKind,
        /// Name of the backbone in the metadata.
        backbone: String,
        /// Every difference.
        mismatch: Box<WeightsMismatch>,
    },
    /// A deviation or variance that no data has.
    #[error("tensor {name} has a value that no spread has (a deviation is above 0, a variance not below)")]
    Spread {
        /// Name of the tensor.
        name: String,
    },
    /// Trained on another backbone.
    #[error("head was trained on backbone {expected}, this one is {actual}")]
    OtherBackbone {
        /// Name and digest in the head.
        expected: String,
        /// Name and digest at hand.
        actual: String,
    },
    /// Features are not those of the head's backbone.
    #[error("head expects {expected} {what}, got {actual}")]
    OtherShape {
        /// What was counted.
        what: &'static str,
        /// Count in the head.
        expected: usize,
        /// Count at hand.
        actual: usize,
    },
    /// The head's fusion holds the text score and there is none.
    #[error("head uses the text score, the prompt set has no text features")]
    NoText,
    /// A contextual head met a prompt set without context.
    #[error("head needs the prompt set's context: encode its single image together with the mirrored copy")]
    NoContext,
    /// The head's arithmetic panicked; it gave no score.
    #[error("head panicked while scoring: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// The score of a query is NaN or infinite.
    #[error("score of query {query} is not finite")]
    NonFiniteScore {
        /// Row of the query in its batch.
        query: usize,
    },
}
