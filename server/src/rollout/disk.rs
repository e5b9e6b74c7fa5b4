//! The last good state on disk: what was commanded, and the heads that it names, by their digest.
//!
//! ```text
//! <state folder>/rollout/state.json                         the last accepted command, and heads that answer in place of others
//!                       /heads/<digest>/manifest.json       as it came
//!                                      /head.safetensors    what has that digest
//!                                      /self-test.safetensors
//! ```
//!
//! Every file is written beside its name, synced, renamed. What cannot be read is told and set aside, never fatal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use inctrl_storage::Digest;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::desired::{Desired, HeadRef, Parts};
use crate::ids::ResourceId;

const FOLDER: &str = "rollout";
const STATE: &str = "state.json";
/// What a damaged state is renamed to.
const DAMAGED: &str = "state.json.damaged";
const HEADS: &str = "heads";
/// Raised when a reader of the old format would misunderstand the new one.
const VERSION: u32 = 1;

/// Why something is not kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The folder cannot be used.
    #[error("folder {path:?} for roll-outs cannot be used; choose a writable state folder with --state-dir")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written; what was there before is as it was.
    #[error("cannot write {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What is kept of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) desired: Desired,
    /// Heads that answer in the place of a wanted one that does not.
    pub(super) held: BTreeMap<ResourceId, HeadRef>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    #[serde(flatten)]
    desired: Desired,
    held: BTreeMap<ResourceId, HeadRef>,
}

/// One file of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Manifest,
    Weights,
    SelfTest,
}

impl Part {
    fn file(self) -> &'static str {
        match self {
            Self::Manifest => "manifest.json",
            Self::Weights => "head.safetensors",
            Self::SelfTest => "self-test.safetensors",
        }
    }
}

/// The folder of roll-outs within a state folder that this process has taken.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    pub(crate) fn open(state: &Path) -> Result<Self, DiskError> {
        let folder = state.join(FOLDER);
        let usable =
            std::fs::create_dir_all(folder.join(HEADS)).and_then(|()| NamedTempFile::new_in(&folder));
        match usable {
            Ok(_) => Ok(Self { folder }),
            Err(source) => Err(DiskError::Folder { path: folder, source }),
        }
    }

    /// The state that was kept, if any. One that cannot be read is set aside.
    pub(super) fn read_state(&self) -> Option<Saved> {
        let path = self.folder.join(STATE);
        match std::fs::read(&path).map_err(|error| (error.kind() == io::ErrorKind::NotFound, error)) {
            Ok(text) => match parse(&text) {
                Ok(saved) => Some(saved),
                Err(error) => {
                    let aside = self.folder.join(DAMAGED);
                    let moved = std::fs::rename(&path, &aside);
                    tracing::error!(
                        path = %path.display(),
                        aside = %aside.display(),
                        moved = moved.is_ok(),
                        error,
                        "the rollout state is damaged and set aside; the server starts without it"
                    );
                    None
                }
            },
            Err((true, _)) => None,
            Err((false, error)) => {
                tracing::error!(path = %path.display(), %error, "the rollout state cannot be read");
                None
            }
        }
    }

    pub(super) fn save_state(&self, saved: &Saved) -> Result<(), DiskError> {
        let Saved { desired, held } = saved.clone();
        let path = self.folder.join(STATE);
        let text = serde_json::to_vec_pretty(&Document { version: VERSION, desired, held });
        let written = text.map_err(io::Error::from).and_then(|text| write(&path, &text));
        written.map_err(|source| DiskError::Write { path, source })
    }

    /// The parts of a head that are kept; none is read that is not there.
    pub(super) fn read_head(&self, digest: Digest) -> Parts {
        let read = |part| std::fs::read(self.part(digest, part)).map(Bytes::from).unwrap_or_default();
        Parts {
            manifest: read(Part::Manifest),
            weights: read(Part::Weights),
            self_test: read(Part::SelfTest),
        }
    }

    /// Keeps the parts of a head that was checked.
    pub(super) fn save_head(&self, digest: Digest, parts: &Parts) -> Result<(), DiskError> {
        let Parts { manifest, weights, self_test } = parts;
        // The manifest last: with it, the head is whole.
        for (part, bytes) in
            [(Part::Weights, weights), (Part::SelfTest, self_test), (Part::Manifest, manifest)]
        {
            let path = self.part(digest, part);
            let is_there = || std::fs::read(&path).is_ok_and(|kept| kept == **bytes);
            if bytes.is_empty() || is_there() {
                continue;
            }
            let folder = self.head(digest);
            let written = std::fs::create_dir_all(folder).and_then(|()| write(&path, bytes));
            written.map_err(|source| DiskError::Write { path, source })?;
        }
        Ok(())
    }

    /// Where a file of a head lies.
    pub(super) fn part(&self, digest: Digest, part: Part) -> PathBuf {
        self.head(digest).join(part.file())
    }

    /// Removes what is kept of a head.
    pub(super) fn remove_head(&self, digest: Digest) {
        remove(&self.head(digest));
    }

    /// Removes every head but these.
    pub(super) fn sweep(&self, wanted: &BTreeSet<Digest>) {
        let wanted: BTreeSet<String> = wanted.iter().map(Digest::hex).collect();
        let Ok(entries) = std::fs::read_dir(self.folder.join(HEADS)) else { return };
        for entry in entries.flatten() {
            if !entry.file_name().to_str().is_some_and(|name| wanted.contains(name)) {
                remove(&entry.path());
            }
        }
    }

    fn head(&self, digest: Digest) -> PathBuf {
        self.folder.join(HEADS).join(digest.hex())
    }
}

fn parse(text: &[u8]) -> Result<Saved, String> {
    let Document { version, desired, held } =
        serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if version != VERSION {
        return Err(format!("it has version {version}, this server reads {VERSION}"));
    }
    Ok(Saved { desired, held })
}

/// Whoever reads the file finds the old or the new content, whole.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %folder.display(), %error, "what is kept of a former head cannot be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::desired::DesiredModel;

    fn saved() -> Saved {
        let head = |text: &str| HeadRef {
            revision: 7,
            digest: Digest::of(text),
            uri: Some("s3://bucket/models/u/k".parse().unwrap()),
        };
        let name = ResourceId::parse("visa").unwrap();
        let model = DesiredModel {
            name: name.clone(),
            active: Some(head("active")),
            candidate: None,
            standby: None,
            weight_percent: 10,
            shadow: true,
        };
        let desired = Desired { epoch: 3, generation: 9, models: vec![model] };
        Saved { desired, held: BTreeMap::from([(name, head("held"))]) }
    }

    #[test]
    fn what_was_kept_is_read_and_what_is_unwanted_is_swept() {
        let state = tempfile::tempdir().unwrap();
        let disk = Disk::open(state.path()).unwrap();
        assert_eq!(disk.read_state(), None);
        disk.save_state(&saved()).unwrap();
        let parts = Parts {
            manifest: Bytes::from_static(b"{}"),
            weights: Bytes::from_static(b"head"),
            self_test: Bytes::new(),
        };
        let (wanted, other) = (Digest::of("wanted"), Digest::of("other"));
        disk.save_head(wanted, &parts).unwrap();
        disk.save_head(other, &parts).unwrap();
        disk.sweep(&BTreeSet::from([wanted]));
        let disk = Disk::open(state.path()).unwrap();
        assert_eq!(disk.read_state(), Some(saved()));
        assert_eq!(disk.read_head(wanted), parts);
        assert!(disk.read_head(other).is_empty());
    }

    #[test]
    fn a_damaged_state_is_set_aside_and_a_new_one_can_be_kept() {
        let state = tempfile::tempdir().unwrap();
        let disk = Disk::open(state.path()).unwrap();
        disk.save_state(&saved()).unwrap();
        let path = state.path().join(FOLDER).join(STATE);
        let whole = std::fs::read_to_string(&path).unwrap();
        let half: String = whole.chars().take(whole.len() / 2).collect();
        for damaged in [half.as_str(), "", &whole.replace("\"version\": 1", "\"version\": 2")] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(disk.read_state(), None);
            let aside = std::fs::read_to_string(state.path().join(FOLDER).join(DAMAGED)).unwrap();
            assert_eq!(aside, *damaged, "it must be there to be looked at");
            assert!(!path.exists());
        }
        disk.save_state(&saved()).unwrap();
        assert_eq!(disk.read_state(), Some(saved()));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Disk::open(file.path()).unwrap_err().to_string();
        assert!(error.contains("--state-dir"), "{error}");
    }
}
