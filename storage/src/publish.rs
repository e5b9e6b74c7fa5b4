//! Publishing an artifact: its files first, the manifest last, nothing ever replaced.
//!
//! A run that dies half-way leaves files without a manifest, which nobody reads. A second run of the same key takes
//! over the files that are equal and puts its own beside those that are not. Of two runs that race, the first to
//! write the manifest has published; the other learns of it.

use std::path::PathBuf;

use bytes::Bytes;

use crate::manifest::{MANIFEST_NAME, MAX_MANIFEST_BYTES, ManifestError, PartRecord, RunRecord};
use crate::store::Creation;
use crate::{Digest, Manifest, SigningKey, Store, StoreError, Uri, VerifyingKey};

/// Files up to this size are written in one call, which can be told not to replace anything. Larger ones go in parts
/// under a name that holds their digest.
const ONE_CALL_BYTES: u64 = 32 * 1024 * 1024;

/// A file to publish.
#[derive(Debug, Clone)]
pub struct Part {
    /// What it is called in the artifact, such as `head.safetensors`.
    pub name: String,
    /// Where its bytes are.
    pub source: PartSource,
}

/// Where the bytes of a part are.
#[derive(Debug, Clone)]
pub enum PartSource {
    /// In memory.
    Bytes(Bytes),
    /// In a file of this machine.
    File(PathBuf),
}

/// What was published.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The manifest that is now in the store.
    pub manifest: Manifest,
    /// Whether it was there before, of another run with the same key.
    pub was_there: bool,
}

/// Why an artifact was not published, or cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A file of this machine cannot be read.
    #[error("cannot read {path:?} to publish it")]
    ReadPart {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file changed while it was uploaded.
    #[error("{path:?} changed while it was uploaded; publish again once nothing writes to it")]
    PartChanged {
        /// The file.
        path: PathBuf,
    },
    /// The store did not take or give something.
    #[error("cannot publish to or read from the artifact store")]
    Store {
        /// Why.
        #[from]
        source: StoreError,
    },
    /// The manifest would not be one, or is none.
    #[error("manifest of {uri} cannot be used")]
    Manifest {
        /// The artifact's folder.
        uri: Uri,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A file of a published artifact is not what its manifest says.
    #[error("{uri} has digest {actual}, its manifest says {expected}; the artifact is damaged, train again")]
    DamagedPart {
        /// The file.
        uri: Uri,
        /// Of the manifest.
        expected: Digest,
        /// As found.
        actual: Digest,
    },
}

/// Publishes a run's files below the URI of `store`, which must be the run's own.
///
/// Returns what is published there afterwards: ours, or that of another run that was first.
pub async fn publish(
    store: &Store,
    record: RunRecord,
    parts: Vec<Part>,
    key: Option<&SigningKey>,
) -> Result<Publication, PublishError> {
    if let Some(manifest) = read_manifest(store, None).await? {
        return Ok(Publication { manifest, was_there: true });
    }
    let unusable = |source| PublishError::Manifest { uri: store.uri().clone(), source };
    let mut records = Vec::with_capacity(parts.len());
    for part in parts {
        records.push(write_part(store, part).await?);
    }
    let manifest = Manifest::new(record, records, key).map_err(unusable)?;
    let json = manifest.to_json().map_err(unusable)?;
    match store.create(MANIFEST_NAME, json.into()).await? {
        Creation::Created => Ok(Publication { manifest, was_there: false }),
        Creation::Exists => {
            let json = store.read(MANIFEST_NAME, MAX_MANIFEST_BYTES).await?;
            let manifest = Manifest::from_json(&json, None).map_err(unusable)?;
            Ok(Publication { manifest, was_there: true })
        }
    }
}

/// The manifest published below the URI of `store`; `None` where there is none. With a key, it must be signed with it.
pub async fn read_manifest(
    store: &Store,
    key: Option<&VerifyingKey>,
) -> Result<Option<Manifest>, PublishError> {
    let json = match store.read(MANIFEST_NAME, MAX_MANIFEST_BYTES).await {
        Ok(json) => json,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(source) => return Err(source.into()),
    };
    let manifest = Manifest::from_json(&json, key);
    manifest.map(Some).map_err(|source| PublishError::Manifest { uri: store.uri().clone(), source })
}

/// Reads every file of a published artifact and fails at the first that is not what the manifest says.
pub async fn verify_parts(store: &Store, manifest: &Manifest) -> Result<(), PublishError> {
    for PartRecord { name: _, path, digest, bytes: _ } in &manifest.parts {
        let (actual, _) = store.digest(path).await?;
        if actual != *digest {
            let uri = store.below(path)?.uri().clone();
            return Err(PublishError::DamagedPart { uri, expected: *digest, actual });
        }
    }
    Ok(())
}

/// Removes a published artifact: the manifest first, so that it stops being one, then the files it lists.
pub async fn remove(store: &Store, manifest: &Manifest) -> Result<(), StoreError> {
    store.delete(MANIFEST_NAME).await?;
    for part in &manifest.parts {
        store.delete(&part.path).await?;
    }
    Ok(())
}

async fn write_part(store: &Store, part: Part) -> Result<PartRecord, PublishError> {
    let Part { name, source } = part;
    let bytes = match source {
        PartSource::Bytes(bytes) => bytes,
        PartSource::File(path) => {
            let read = |source| PublishError::ReadPart { path: path.clone(), source };
            let size = tokio::fs::metadata(&path).await.map_err(read)?.len();
            if size > ONE_CALL_BYTES {
                return upload_part(store, name, path).await;
            }
            tokio::fs::read(&path).await.map_err(read)?.into()
        }
    };
    let mut record = PartRecord::of(&name, &bytes);
    if store.create(&record.path, bytes.clone()).await? == Creation::Created {
        return Ok(record);
    }
    // Another run's file: the same bytes serve, others are left alone.
    if store.digest(&record.path).await?.0 != record.digest {
        record.path = content_name(&name, record.digest);
        if store.create(&record.path, bytes).await? == Creation::Exists {
            check_written(store, &record).await?;
        }
    }
    Ok(record)
}

async fn upload_part(store: &Store, name: String, path: PathBuf) -> Result<PartRecord, PublishError> {
    let mut digest = crate::StreamingDigest::default();
    let read = |source| PublishError::ReadPart { path: path.clone(), source };
    let mut file = tokio::fs::File::open(&path).await.map_err(read)?;
    let mut piece = bytes::BytesMut::with_capacity(256 * 1024);
    while tokio::io::AsyncReadExt::read_buf(&mut file, &mut piece).await.map_err(read)? > 0 {
        digest.update(&piece);
        piece.clear();
    }
    let (digest, bytes) = digest.finish();
    let record = PartRecord { path: content_name(&name, digest), name, digest, bytes };
    if store.upload(&record.path, &path).await? == (digest, bytes) {
        return Ok(record);
    }
    store.delete(&record.path).await?;
    Err(PublishError::PartChanged { path })
}

async fn check_written(store: &Store, record: &PartRecord) -> Result<(), PublishError> {
    let (actual, _) = store.digest(&record.path).await?;
    if actual == record.digest {
        return Ok(());
    }
    let uri = store.below(&record.path)?.uri().clone();
    Err(PublishError::DamagedPart { uri, expected: record.digest, actual })
}

/// `head.safetensors` with a digest: `head.0123456789ab.safetensors`.
fn content_name(name: &str, digest: Digest) -> String {
    let (folder, file) = name.rsplit_once('/').map_or(("", name), |(folder, file)| (folder, file));
    let file = match file.split_once('.') {
        Some((stem, extension)) => format!("{stem}.{}.{extension}", digest.short()),
        None => format!("{file}.{}", digest.short()),
    };
    if folder.is_empty() { file } else { format!("{folder}/{file}") }
}
