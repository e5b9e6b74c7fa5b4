//! Uploads that are cut.

use std::collections::BTreeMap;

use bytes::Bytes;
use inctrl_storage::dataset::{Fingerprint, FingerprintMode};
use inctrl_storage::manifest::{BackboneRecord, DatasetRecord, HEAD_NAME, HeadRecord};
use inctrl_storage::publish::PartSource;
use inctrl_storage::{
    Digest, Part, PublishError, RunRecord, Store, StoreError, publish, read_manifest, verify_parts,
};

use crate::SERVER;
use crate::proxy::Wire;
use crate::server::S3Server;

/// Goes up in five parts of 8 MiB, after a call that opens the upload.
const LARGE_BYTES: usize = 40 * 1024 * 1024;

/// Step of the sweep over a small publication, which sends a few kilobytes.
const SWEEP_STEP: usize = 311;

pub(crate) async fn an_upload_leaves_no_object() {
    let uri = format!("s3://{}/models", SERVER.bucket());
    let direct = S3Server::store(&uri, SERVER.address());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.bin");
    std::fs::write(&file, vec![7; LARGE_BYTES]).unwrap();

    let wire = Wire::to(SERVER.address(), LARGE_BYTES as u64 / 2).await;
    let error = S3Server::store(&uri, wire.address()).upload("report.bin", &file).await.unwrap_err();
    assert!(error.is_transient(), "a cut must be worth another try: {error:?}");
    let (was_cut, sent) = wire.state();
    assert!(was_cut && sent > LARGE_BYTES as u64 / 2, "the wire must be cut in the middle, not after {sent}");
    assert!(direct.list(10).await.unwrap().is_empty(), "half an object must not be listed");
    let entry = direct.entry("report.bin").await.unwrap_err();
    assert!(matches!(entry, StoreError::NotFound { .. }), "{entry:?}");

    let parts = || {
        let head =
            Part { name: HEAD_NAME.to_owned(), source: PartSource::Bytes(Bytes::from_static(b"head")) };
        vec![head, Part { name: "report.bin".to_owned(), source: PartSource::File(file.clone()) }]
    };
    let wire = Wire::to(SERVER.address(), LARGE_BYTES as u64 / 2).await;
    let cut = publish(&S3Server::store(&uri, wire.address()), record(), parts(), None).await;
    assert!(matches!(cut, Err(PublishError::Store { .. })), "{cut:?}");
    assert_eq!(read_manifest(&direct, None).await.unwrap(), None, "a cut run must not read as published");

    let again = publish(&direct, record(), parts(), None).await.unwrap();
    assert!(!again.was_there, "a second run must publish");
    verify_parts(&direct, &again.manifest).await.unwrap();
}

pub(crate) async fn a_publication() {
    let bucket = SERVER.bucket();
    let parts = || {
        let part = |name: &str, length| Part {
            name: name.to_owned(),
            source: PartSource::Bytes(vec![b'x'; length].into()),
        };
        vec![part(HEAD_NAME, 2000), part("report.html", 700)]
    };
    let (mut cuts, mut limit) = (0, 1);
    loop {
        let uri = format!("s3://{bucket}/run-{limit}");
        let direct = S3Server::store(&uri, SERVER.address());
        let wire = Wire::to(SERVER.address(), limit as u64).await;
        let published = publish(&S3Server::store(&uri, wire.address()), record(), parts(), None).await;
        let (was_cut, _) = wire.state();
        assert_eq!(published.is_err(), was_cut, "{published:?}");
        check_whole_or_nothing(&direct, published.is_ok()).await;
        if !was_cut {
            break;
        }
        let again = publish(&direct, record(), parts(), None).await.unwrap();
        verify_parts(&direct, &again.manifest).await.unwrap();
        (cuts, limit) = (cuts + 1, limit + SWEEP_STEP);
    }
    assert!(cuts > 10, "{cuts} cuts are no sweep");
}

/// What has a manifest must be whole.
async fn check_whole_or_nothing(store: &Store, is_published: bool) {
    match read_manifest(store, None).await.unwrap() {
        Some(manifest) => verify_parts(store, &manifest).await.unwrap(),
        None => assert!(!is_published, "what was published must read as such"),
    }
}

fn record() -> RunRecord {
    let (digest, mode) = (Digest::of("data"), FingerprintMode::Manifest);
    let fingerprint = Fingerprint { fingerprint: digest, mode, objects: 12, bytes: 34_567 };
    RunRecord {
        created_at: jiff::Timestamp::UNIX_EPOCH,
        trainer: env!("CARGO_PKG_VERSION").to_owned(),
        run_key: Some("4k2m7q9xza".to_owned()),
        spec_hash: None,
        head: HeadRecord { kind: "contextual".to_owned(), part: HEAD_NAME.to_owned() },
        backbone: BackboneRecord { name: "none".to_owned(), digest: Digest::of("backbone"), sha256: None },
        dataset: DatasetRecord { uri: "file:///data".parse().unwrap(), fingerprint, labels: None },
        hyperparameters: BTreeMap::new(),
        gate: None,
        self_test: None,
    }
}
