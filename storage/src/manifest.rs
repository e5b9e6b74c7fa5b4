//! The manifest of a trained head: what it is, what it was made of, how good it is, and the digests of its files.
//!
//! It is written last and never replaced: a folder with a manifest holds a whole artifact. The trainer writes it, the
//! operator decides from it, the server checks what it loads against it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dataset::Fingerprint;
use crate::signature::{SIGNATURE_FIELD, Signature};
use crate::{Digest, SigningKey, Uri, VerifyingKey, canonical};

mod error;

pub use error::ManifestError;

/// Name of the manifest in an artifact's folder.
pub const MANIFEST_NAME: &str = "manifest.json";

/// Name that the head's file usually has.
pub const HEAD_NAME: &str = "head.safetensors";

/// The schema that this version writes. Fields may be added within a schema; a change of meaning is a new one.
pub const SCHEMA: &str = "inctrl.dev/artifact/v1";

/// Largest manifest that is read.
pub const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;

/// An artifact's manifest, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// Digest of the head's file: the name of the revision.
    pub revision: Digest,
    /// What the run says of itself.
    #[serde(flatten)]
    pub record: RunRecord,
    /// Every file of the artifact but the manifest.
    pub parts: Vec<PartRecord>,
    /// Signature over the canonical JSON of everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// What a training run says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    /// When the run ended.
    pub created_at: Timestamp,
    /// Version of the trainer.
    pub trainer: String,
    /// The operator's key of the run; absent for a run by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_key: Option<String>,
    /// Digest of the training inputs as the operator hashed them, echoed; absent for a run by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec_hash: Option<Digest>,
    /// Which head.
    pub head: HeadRecord,
    /// What it goes with.
    pub backbone: BackboneRecord,
    /// What it was trained on.
    pub dataset: DatasetRecord,
    /// Everything that was set for the run, seed included.
    pub hyperparameters: BTreeMap<String, Value>,
    /// How good it is on data that training did not see, beside the active head where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateReport>,
    /// Inputs and the scores that every server must give for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_test: Option<SelfTest>,
}

/// Which head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadRecord {
    /// `paper` or `contextual`.
    pub kind: String,
    /// Name of the part that is the head.
    pub part: String,
}

/// The backbone that a head goes with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackboneRecord {
    /// Its name, such as `ViT-B-16-plus-240`.
    pub name: String,
    /// Digest of its weights and configuration, as the head's own metadata and every answer name it.
    pub digest: Digest,
    /// Digest of the files it was read from (see [`Fingerprint`]), where they were fetched by digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// A data set as it was when the run read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatasetRecord {
    /// Where.
    pub uri: Uri,
    /// What was there.
    #[serde(flatten)]
    pub fingerprint: Fingerprint,
    /// Digest of what the trainer read out of it: category, split and label of every image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Digest>,
}

/// Evaluation on the gate data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateReport {
    /// The held-out data set.
    pub dataset: DatasetRecord,
    /// Number of images scored.
    pub samples: u64,
    /// Metrics of this head.
    pub candidate: Vec<Metric>,
    /// Metrics of the active head on the same images, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveReport>,
}

/// The active head's side of a gate report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveReport {
    /// Its revision.
    pub revision: Digest,
    /// Its metrics.
    pub metrics: Vec<Metric>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// `imageAUROC`, `imageAUPRC`, `f1Max` in 0..=1, `latencyP99Millis` in milliseconds, …
    pub name: String,
    /// Part of the data set, such as a category; absent for the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The figure; finite.
    pub value: f64,
}

/// Inputs with known scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfTest {
    /// Name of the part with the inputs (safetensors).
    pub part: String,
    /// Scores in the order of the inputs; finite.
    pub expected: Vec<f64>,
    /// Largest absolute difference that still passes.
    pub tolerance: f64,
}

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartRecord {
    /// What it is called.
    pub name: String,
    /// Where it lies, below the manifest's folder; usually its name.
    pub path: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Size in bytes.
    pub bytes: u64,
}

impl PartRecord {
    /// The record of a file called `name` that holds these bytes.
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        let size = bytes.len() as u64;
        Self { name: name.to_owned(), path: name.to_owned(), digest: Digest::of(bytes), bytes: size }
    }
}

impl Manifest {
    /// A manifest of a run and the files it left, signed where a key is given.
    pub fn new(
        record: RunRecord,
        parts: Vec<PartRecord>,
        key: Option<&SigningKey>,
    ) -> Result<Self, ManifestError> {
        let head = parts.iter().find(|part| part.name == record.head.part);
        let revision = head.ok_or_else(|| missing("head", &record.head.part))?.digest;
        let mut manifest = Self { schema: SCHEMA.to_owned(), revision, record, parts, signature: None };
        manifest.check()?;
        if let Some(key) = key {
            manifest.signature = Some(key.sign(&canonical::to_vec(&manifest)?));
        }
        Ok(manifest)
    }

    /// Reads a manifest and checks that it is one; with a key, also that it was signed with it.
    pub fn from_json(json: &[u8], key: Option<&VerifyingKey>) -> Result<Self, ManifestError> {
        let value: Value =
            serde_json::from_slice(json).map_err(|source| ManifestError::NotJson { source })?;
        let schema = value.get("schema").and_then(Value::as_str).unwrap_or_default();
        if schema != SCHEMA {
            return Err(ManifestError::OtherSchema { schema: schema.to_owned() });
        }
        let manifest = Self::deserialize(&value).map_err(|source| ManifestError::Malformed { source })?;
        manifest.check()?;
        if let Some(key) = key {
            let signature = manifest.signature.as_ref().ok_or(ManifestError::Unsigned)?;
            key.verify(&signed_bytes(value)?, signature)?;
        }
        Ok(manifest)
    }

    /// Canonical JSON, as it is stored.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        Ok(canonical::to_vec(self)?)
    }

    /// The file called `name`.
    pub fn part(&self, name: &str) -> Result<&PartRecord, ManifestError> {
        self.parts.iter().find(|part| part.name == name).ok_or_else(|| missing("part", name))
    }

    /// The head's file.
    pub fn head(&self) -> Result<&PartRecord, ManifestError> {
        self.part(&self.record.head.part)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let Self { schema: _, revision, record, parts, signature: _ } = self;
        let mut names = BTreeSet::new();
        for part in parts {
            let plain = |text: &str| {
                !text.contains('\\') && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
            };
            if !plain(&part.name) || !plain(&part.path) || part.path == MANIFEST_NAME {
                return Err(ManifestError::PartPath { name: part.name.clone(), path: part.path.clone() });
            }
            if !names.insert(&part.name) {
                return Err(ManifestError::PartTwice { name: part.name.clone() });
            }
        }
        let head = self.head().map_err(|_| missing("head", &record.head.part))?;
        if head.digest != *revision {
            return Err(ManifestError::OtherRevision { revision: *revision, head: head.digest });
        }
        let mut numbers = Vec::new();
        if let Some(SelfTest { part, expected, tolerance }) = &record.self_test {
            self.part(part).map_err(|_| missing("self-test", part))?;
            numbers.extend(expected.iter().chain([tolerance]).map(|&number| ("selfTest", number)));
        }
        if let Some(GateReport { dataset: _, samples: _, candidate, active }) = &record.gate {
            let active = active.iter().flat_map(|report| &report.metrics);
            numbers.extend(candidate.iter().chain(active).map(|metric| (metric.name.as_str(), metric.value)));
        }
        match numbers.into_iter().find(|(_, number)| !number.is_finite()) {
            Some((field, value)) => Err(ManifestError::NotFinite { field: field.to_owned(), value }),
            None => Ok(()),
        }
    }
}

fn missing(what: &'static str, name: &str) -> ManifestError {
    ManifestError::MissingPart { what, name: name.to_owned() }
}

/// What a signature covers: the document as it was read, fields unknown to this version included, without the
/// signature.
fn signed_bytes(mut document: Value) -> Result<Vec<u8>, ManifestError> {
    if let Some(fields) = document.as_object_mut() {
        fields.remove(SIGNATURE_FIELD);
    }
    Ok(canonical::to_vec(&document)?)
}

#[cfg(test)]
mod tests;
