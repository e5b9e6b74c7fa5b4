//! What a run leaves: head, loss curve, and the manifest last, so that a folder with a manifest is whole.

use std::io;
use std::path::{Path, PathBuf};

use inctrl_model::Head;
use inctrl_storage::manifest::{BackboneRecord, DatasetRecord, HEAD_NAME, HeadRecord, MANIFEST_NAME};
use inctrl_storage::{Digest, Manifest, PartRecord, RunRecord, Uri};
use jiff::Timestamp;

use crate::files::{Durability, prepare_folder, write_whole};
use crate::train::{AuxiliaryData, CURVE_NAME, Identity, LossCurve, TrainError};

/// The folder of a head.
#[derive(Debug)]
pub struct Artifact {
    folder: PathBuf,
}

impl Artifact {
    /// Makes the folder, if need be, and fails unless files can be written there.
    pub fn open(folder: &Path) -> Result<Self, TrainError> {
        prepare_folder(folder).map_err(|source| TrainError::Output { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The manifest of a head that is there already; one of another run is refused with what differs, and so is a
    /// head that is no longer what its manifest says.
    pub fn finished(&self, identity: &Identity) -> Result<Option<Manifest>, TrainError> {
        let path = self.path(MANIFEST_NAME);
        let json = match std::fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(TrainError::Output { path, source }),
        };
        let unusable = |source| TrainError::Manifest { path: path.clone(), source };
        let manifest = Manifest::from_json(&json, None).map_err(unusable)?;
        let differences = identity.differences(&Identity::of_manifest(&manifest));
        if !differences.is_empty() {
            return Err(TrainError::OtherHead { folder: self.folder.clone(), differences });
        }
        let head = self.path(&manifest.head().map_err(unusable)?.path);
        match Digest::of_file(&head) {
            Ok(found) if found == manifest.revision => Ok(Some(manifest)),
            Ok(_) => Err(TrainError::DamagedHead { path: head }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(TrainError::DamagedHead { path: head })
            }
            Err(source) => Err(TrainError::Output { path: head, source }),
        }
    }

    /// Writes head and curve, then the manifest.
    pub fn write(
        &self,
        identity: &Identity,
        data: &AuxiliaryData,
        head: &Head,
        curve: &LossCurve,
    ) -> Result<Manifest, TrainError> {
        let curve = serde_json::to_vec_pretty(curve).expect("finite numbers and words are JSON");
        let mut parts = Vec::new();
        for (name, bytes) in [(HEAD_NAME, head.to_bytes()), (CURVE_NAME, curve)] {
            self.write_file(name, &bytes)?;
            parts.push(PartRecord::of(name, &bytes));
        }
        let path = self.path(MANIFEST_NAME);
        let unusable = |source| TrainError::Manifest { path: path.clone(), source };
        let record = record(identity, data, head)?;
        let manifest = Manifest::new(record, parts, None).map_err(unusable)?;
        self.write_file(MANIFEST_NAME, &manifest.to_json().map_err(unusable)?)?;
        Ok(manifest)
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        let path = self.path(name);
        write_whole(&path, bytes, Durability::Durable).map_err(|source| TrainError::Output { path, source })
    }
}

fn record(identity: &Identity, data: &AuxiliaryData, head: &Head) -> Result<RunRecord, TrainError> {
    let backbone = &head.metadata().backbone;
    let absolute =
        data.root.canonicalize().map_err(|source| TrainError::Output { path: data.root.clone(), source })?;
    Ok(RunRecord {
        created_at: Timestamp::now(),
        trainer: env!("CARGO_PKG_VERSION").to_owned(),
        run_key: None,
        spec_hash: None,
        head: HeadRecord { kind: head.metadata().kind.to_string(), part: HEAD_NAME.to_owned() },
        backbone: BackboneRecord { name: backbone.name.clone(), digest: identity.backbone, sha256: None },
        dataset: DatasetRecord {
            uri: Uri::from_path(&absolute)?,
            fingerprint: data.fingerprint.clone(),
            labels: Some(identity.labels),
        },
        hyperparameters: identity.hyperparameters.clone(),
        gate: None,
        self_test: None,
    })
}
