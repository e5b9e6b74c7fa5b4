//! Why a data set cannot be used.

use std::path::PathBuf;

/// What is wrong with a data set, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The root, or a folder that a layout needs, is not there.
    #[error("no folder {path:?}; check the path of the data set, and that its volume is mounted")]
    MissingFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A folder is there and cannot be listed.
    #[error("cannot list folder {path:?}; check its permissions")]
    ReadFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {path:?}")]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No image was found.
    #[error("data set {path:?} holds no images; its layout must be {expected}, or set another `format`")]
    Empty {
        /// Root of the data set.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
    /// Nothing is labelled anomalous.
    #[error("data set {name:?} at {root:?} has no anomalous images; it can give normal images alone")]
    NoAnomalies {
        /// Name of the data set.
        name: String,
        /// Its root.
        root: PathBuf,
    },
    /// A category cannot fill a prompt set and have normal queries left.
    #[error(
        "category {category:?} of data set {root:?} has {normals} normal images and needs {needed}; \
         lower the number of shots, add images, or leave the category out with `categories`"
    )]
    TooFewNormals {
        /// The category.
        category: String,
        /// Root of the data set.
        root: PathBuf,
        /// Normal images found.
        normals: usize,
        /// Normal images needed.
        needed: usize,
    },
    /// A mask belongs to no image.
    #[error("mask {mask:?} has no image {image:?}; restore the image or remove the mask")]
    MaskWithoutImage {
        /// The mask.
        mask: PathBuf,
        /// The image it should be of, with any extension.
        image: PathBuf,
    },
    /// `categories` names one that is not there.
    #[error("the data set has no category {category:?}; it has {}", known.join(", "))]
    UnknownCategory {
        /// As asked for.
        category: String,
        /// What there is.
        known: Vec<String>,
    },
    /// An image stands in the data set twice.
    #[error("image {path:?} is listed twice; every image must have one label and one category")]
    Twice {
        /// The image.
        path: PathBuf,
    },
    /// The layout needs lists and none is given.
    #[error("format `list` needs the JSON lists to read; name them under `lists`")]
    NoLists,
    /// A JSON list cannot be read as one.
    #[error("list {path:?} is not an array of objects with image_path, target and type; export it again")]
    ParseList {
        /// The list.
        path: PathBuf,
        /// Where it stops making sense.
        #[source]
        source: serde_json::Error,
    },
    /// A row of a list makes no sense.
    #[error("{path:?}, entry {entry}: {reason}")]
    Entry {
        /// The list.
        path: PathBuf,
        /// Which entry, counted from 1.
        entry: usize,
        /// What is wrong and how it should be.
        reason: String,
    },
}
