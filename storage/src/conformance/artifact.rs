//! Checks of artifacts: published once, whole, and only ever read whole.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use super::{Checked, must, noise};
use crate::dataset::{Fingerprint, FingerprintMode};
use crate::manifest::{BackboneRecord, DatasetRecord, HEAD_NAME, HeadRecord, MANIFEST_NAME, RunRecord};
use crate::publish::{PartSource, remove};
use crate::{
    Digest, FetchError, Part, PublishError, Store, fetch_part, publish, read_manifest, verify_parts,
};

pub(super) async fn an_artifact_is_published_once(store: &Store, scratch: &Path) -> Checked {
    must(read_manifest(store, None).await?.is_none(), "nothing published must read as nothing")?;
    let first = publish(store, record(1)?, parts(1), None).await?;
    must(!first.was_there, "the first run must publish")?;
    must(read_manifest(store, None).await? == Some(first.manifest.clone()), "a manifest must read back")?;
    verify_parts(store, &first.manifest).await?;
    let second = publish(store, record(2)?, parts(2), None).await?;
    must(
        second.was_there && second.manifest == first.manifest,
        "a second run must find the first's artifact",
    )?;
    must(store.list(10).await?.len() == 3, "a second run must leave nothing of its own")?;
    let to = scratch.join("head");
    fetch_part(store, &first.manifest, HEAD_NAME, &to).await?;
    must(tokio::fs::read(&to).await? == noise(1, 5000), "a fetched part must be the published one")?;
    remove(store, &first.manifest).await?;
    must(store.list(10).await?.is_empty(), "a removed artifact must be gone")
}

pub(super) async fn leftovers_of_a_dead_run_are_left_alone(store: &Store, _: &Path) -> Checked {
    store.create(HEAD_NAME, Bytes::from_static(b"of a run that died")).await?;
    store.create("report.html", noise(101, 100)).await?;
    let ours = publish(store, record(1)?, parts(1), None).await?;
    must(!ours.was_there, "files without a manifest must not read as published")?;
    verify_parts(store, &ours.manifest).await?;
    must(store.read(HEAD_NAME, 100).await? == "of a run that died", "others' files must stay as they are")?;
    must(ours.manifest.part("report.html")?.path == "report.html", "equal files must be shared")
}

pub(super) async fn a_damaged_part_is_noticed(store: &Store, scratch: &Path) -> Checked {
    let published = publish(store, record(1)?, parts(1), None).await?;
    let path = &published.manifest.head()?.path;
    store.delete(path).await?;
    store.create(path, noise(9, 5000)).await?;
    let verified = verify_parts(store, &published.manifest).await;
    must(matches!(verified, Err(PublishError::DamagedPart { .. })), "a damaged part must be noticed")?;
    let fetched = fetch_part(store, &published.manifest, HEAD_NAME, &scratch.join("head")).await;
    must(matches!(fetched, Err(FetchError::OtherDigest { .. })), "a damaged part must not be fetched")?;
    store.delete(path).await?;
    must(verify_parts(store, &published.manifest).await.is_err(), "a missing part must be noticed")?;
    store.delete(MANIFEST_NAME).await?;
    must(read_manifest(store, None).await?.is_none(), "without its manifest an artifact must read as nothing")
}

pub(super) async fn a_wrong_digest_leaves_nothing(store: &Store, scratch: &Path) -> Checked {
    store.create("x", noise(5, 1000)).await?;
    let to = scratch.join("deep/folder/x");
    let fetched = crate::fetch_file(store, "x", Some(Digest::of("else")), &to).await;
    must(matches!(fetched, Err(FetchError::OtherDigest { .. })), "another digest must be refused")?;
    let missing = crate::fetch_file(store, "none", None, &to).await;
    must(missing.is_err(), "nothing must not be fetched")?;
    let left = std::fs::read_dir(scratch.join("deep/folder"))?.count();
    must(left == 0, format!("a refused fetch must leave no file, not {left}"))?;
    tokio::fs::write(&to, "older").await?;
    crate::fetch_file(store, "x", Some(Digest::of(noise(5, 1000))), &to).await?;
    must(tokio::fs::read(&to).await? == noise(5, 1000), "a fetched file must take the place of an older one")
}

/// Two parts of a run, different for every seed.
fn parts(seed: u8) -> Vec<Part> {
    let part = |name: &str, bytes| Part { name: name.to_owned(), source: PartSource::Bytes(bytes) };
    vec![part(HEAD_NAME, noise(seed, 5000)), part("report.html", noise(seed + 100, 100))]
}

/// The record of a run, different for every seed.
fn record(seed: u8) -> Result<RunRecord, crate::uri::UriError> {
    let fingerprint = Fingerprint {
        fingerprint: Digest::of("data"),
        mode: FingerprintMode::Manifest,
        objects: 12,
        bytes: 34_567,
    };
    Ok(RunRecord {
        created_at: jiff::Timestamp::UNIX_EPOCH,
        trainer: env!("CARGO_PKG_VERSION").to_owned(),
        run_key: Some("conformance".to_owned()),
        spec_hash: None,
        head: HeadRecord { kind: "paper".to_owned(), part: HEAD_NAME.to_owned() },
        backbone: BackboneRecord { name: "none".to_owned(), digest: Digest::of("backbone"), sha256: None },
        dataset: DatasetRecord { uri: "file:///data".parse()?, fingerprint, labels: None },
        hyperparameters: BTreeMap::from([("seed".to_owned(), seed.into())]),
        gate: None,
        self_test: None,
    })
}
