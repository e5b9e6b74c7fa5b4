//! The head file: safetensors whose `__metadata__` holds one JSON document; canonical, so that equal heads have
//! equal bytes and a digest names the weights.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use super::{HeadError, HeadKind, HeadMetadata, contextual, paper};
use crate::backbone::WeightsMismatch;
use crate::tensors::{bytes_of, shape_of};

/// The one key of `__metadata__`; a second key would make the order of the header's bytes arbitrary.
const METADATA_KEY: &str = "inctrl.head";

/// Raised when a reader of the old format would misunderstand the new one.
const FORMAT_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Document {
    format_version: u32,
    #[serde(flatten)]
    metadata: HeadMetadata,
}

/// Only the version: read first, so that a later format is named as such whatever else changed in it.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

/// Canonical bytes: tensors sorted by name, float32, one metadata key. The tensors are checked by [`read`].
pub(super) fn write(
    metadata: &HeadMetadata,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<Vec<u8>, HeadError> {
    let document = Document { format_version: FORMAT_VERSION, metadata: metadata.clone() };
    let json = serde_json::to_string(&document).map_err(malformed)?;
    let stored: Vec<(&str, Vec<usize>, Vec<u8>)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), shape_of(tensor), bytes_of(tensor))).collect();
    let views = stored
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(malformed)?;
    safetensors::serialize(views, Some(HashMap::from([(METADATA_KEY.to_owned(), json)]))).map_err(malformed)
}

/// Metadata and tensors (float32, on the CPU) of a head file; names, shapes and values are as the metadata says.
pub(super) fn read(bytes: &[u8]) -> Result<(HeadMetadata, BTreeMap<String, Tensor>), HeadError> {
    let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
    let metadata = read_metadata(bytes)?;
    let mut found: BTreeMap<&str, TensorView<'_>> = file.iter().collect();
    let mut mismatch = WeightsMismatch::default();
    let mut tensors = BTreeMap::new();
    for (name, expected) in metadata.layout() {
        let Some(view) = found.remove(name.as_str()) else {
            mismatch.missing.push(name);
            continue;
        };
        let actual: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        if view.dtype() != Dtype::F32 {
            mismatch.not_float.push((name, view.dtype().to_string()));
        } else if actual != expected {
            mismatch.misshapen.push((name, expected, actual));
        } else {
            let tensor = Tensor::from_data_size(view.data(), &expected, Kind::Float);
            if !bool::try_from(tensor.isfinite().all()).unwrap_or(false) {
                mismatch.non_finite.push(name.clone());
            }
            tensors.insert(name, tensor);
        }
    }
    mismatch.surplus = found.into_keys().map(str::to_owned).collect();
    if mismatch != WeightsMismatch::default() {
        let (kind, backbone) = (metadata.kind, metadata.backbone.name);
        return Err(HeadError::Mismatch { kind, backbone, mismatch: Box::new(mismatch) });
    }
    match tensors.iter().find(|(name, tensor)| !can_divide(name, tensor)) {
        Some((name, _)) => Err(HeadError::Spread { name: name.clone() }),
        None => Ok((metadata, tensors)),
    }
}

/// Whether a tensor that is divided by makes no score infinite or NaN: a deviation is above zero; a variance, to which
/// batch norm adds an epsilon, may be zero.
fn can_divide(name: &str, tensor: &Tensor) -> bool {
    let least = || tensor.min().double_value(&[]);
    match name {
        contextual::DEVIATION => 0.0 < least(),
        _ if name.ends_with(paper::VARIANCE) => 0.0 <= least(),
        _ => true,
    }
}

/// `sha256:` and lower-case hexadecimal digits.
pub(super) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn read_metadata(bytes: &[u8]) -> Result<HeadMetadata, HeadError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
    let json =
        header.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY)).ok_or_else(|| {
            HeadError::Malformed { reason: format!("its metadata has no {METADATA_KEY:?}") }
        })?;
    let Version { format_version } = serde_json::from_str(json).map_err(malformed)?;
    if format_version != FORMAT_VERSION {
        return Err(HeadError::OtherVersion { expected: FORMAT_VERSION, actual: format_version });
    }
    let Document { format_version: _, metadata } = serde_json::from_str(json).map_err(malformed)?;
    let text_allowed = metadata.kind == HeadKind::Paper && metadata.backbone.has_text;
    if metadata.uses_text && !text_allowed {
        let reason = format!("a {} head on {} cannot use text", metadata.kind, metadata.backbone.name);
        return Err(HeadError::Malformed { reason });
    }
    Ok(metadata)
}

fn malformed(error: impl std::fmt::Display) -> HeadError {
    HeadError::Malformed { reason: error.to_string() }
}
