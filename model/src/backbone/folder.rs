//! A backbone folder: which kind it is, its files, its digest.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tch::TchError;

use super::error::BackboneError;
use super::tower::{ImageTower, Placement, TextEncoder};
use super::{BackboneInfo, clip, starter};

/// A backbone as its architecture opened it.
pub(super) struct Opened {
    pub(super) info: BackboneInfo,
    pub(super) images: Box<dyn ImageTower>,
    pub(super) text: Option<Box<dyn TextEncoder>>,
}

/// Opens the folder by the configuration that it holds.
pub(super) fn open(folder: &Path, placement: Placement) -> Result<Opened, BackboneError> {
    if folder.join(clip::CONFIG_FILE).is_file() {
        clip::open(folder, placement)
    } else if folder.join(starter::CONFIG_FILE).is_file() {
        starter::open(folder, placement)
    } else {
        Err(BackboneError::NotABackbone { folder: folder.to_owned() })
    }
}

/// The path of a file that must be there.
pub(super) fn require(folder: &Path, file: &'static str) -> Result<PathBuf, BackboneError> {
    let path = folder.join(file);
    if path.is_file() {
        Ok(path)
    } else {
        Err(BackboneError::MissingFile { folder: folder.to_owned(), file })
    }
}

/// Reads a JSON configuration.
pub(super) fn read_config<T: DeserializeOwned>(path: &Path) -> Result<T, BackboneError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| BackboneError::ReadConfig { path: path.to_owned(), source })?;
    serde_json::from_str(&text)
        .map_err(|source| BackboneError::MalformedConfig { path: path.to_owned(), source })
}

/// The digest of a backbone: SHA-256 of all tensors that are used, in the order of their names (length of the name,
/// name, number of dimensions, dimensions, float32 values, numbers little-endian), then of the JSON of `identity`.
/// It does not depend on the order of tensors in the file, on the number format they are stored in (where float32
/// holds it exactly), or on settings that change no feature.
pub(super) fn digest(mut weights: Sha256, identity: &impl Serialize) -> String {
    let identity = serde_json::to_vec(identity).expect("structs of numbers and strings have a JSON form");
    weights.update(identity);
    weights.finalize().iter().fold("sha256:".to_owned(), |digest, byte| format!("{digest}{byte:02x}"))
}

/// libtorch refused to move weights to the device.
pub(super) fn placing(source: TchError) -> BackboneError {
    BackboneError::Torch { step: "placing the backbone's weights on the device", source }
}
