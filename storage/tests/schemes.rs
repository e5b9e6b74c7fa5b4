//! Every scheme that needs no other program passes the conformance suite; a web server is read as far as it can be.
#![expect(clippy::unwrap_used, reason = "a set-up that fails must fail its test")]

use std::path::Path;
use std::sync::Arc;

use inctrl_storage::{
    Digest, FetchError, Store, StoreError, StoreOptions, Uri, conformance, dataset, fetch_file,
};
use object_store::memory::InMemory;

/// Number of checks: a suite that checks nothing must not pass.
const CHECKS: usize = 12;

async fn passes(store: &Store) {
    let scratch = tempfile::tempdir().unwrap();
    match conformance::check(store, scratch.path()).await {
        Ok(checks) => assert_eq!(checks.len(), CHECKS, "{checks:?}"),
        Err(violation) => panic!("{violation}: {:?}", std::error::Error::source(&violation)),
    }
}

#[tokio::test]
async fn files_pass_the_conformance_suite() {
    let folder = tempfile::tempdir().unwrap();
    let uri = Uri::from_path(&folder.path().join("not yet there")).unwrap();
    let store = Store::open(&uri, &StoreOptions::anonymous()).unwrap();
    assert_eq!(store.local_path(), Some(&*folder.path().join("not yet there")));
    passes(&store).await;
}

#[tokio::test]
async fn volume_claims_pass_the_conformance_suite() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { pvc_root: folder.path().to_owned(), ..StoreOptions::anonymous() };
    let store = Store::open(&"pvc://claim/models".parse().unwrap(), &options).unwrap();
    let below = store.below("run").unwrap();
    assert_eq!(below.local_path(), Some(&*folder.path().join("claim/models/run")));
    passes(&store).await;
    assert!(folder.path().join("claim").is_dir(), "a claim must be a folder below the root of claims");
}

#[tokio::test]
async fn a_store_in_memory_passes_the_conformance_suite() {
    passes(&in_memory("s3://memory/prefix")).await;
}

#[tokio::test]
async fn a_store_that_replaces_objects_fails_the_conformance_suite() {
    let folder = tempfile::tempdir().unwrap();
    let uri: Uri = "s3://memory/forgetful".parse().unwrap();
    let store = Store::over(uri, Arc::new(object_store::limit::LimitStore::new(InMemory::new(), 1))).unwrap();
    store.create("an_object_reads_back_whole/one", "x".into()).await.unwrap();
    let violation = conformance::check(&store, folder.path()).await.unwrap_err();
    assert!(violation.to_string().contains("a free place must be free"), "{violation}");
}

fn in_memory(uri: &str) -> Store {
    Store::over(uri.parse().unwrap(), Arc::new(InMemory::new())).unwrap()
}

#[tokio::test]
async fn empty_objects_that_stand_for_folders_are_no_data() {
    let store = in_memory("s3://memory/data");
    store.create("bottle/good.png", "x".into()).await.unwrap();
    let before = dataset::resolve(&store, None, dataset::FingerprintMode::Content).await.unwrap();
    store.create("bottle", bytes::Bytes::new()).await.unwrap();
    assert_eq!(dataset::resolve(&store, None, dataset::FingerprintMode::Content).await.unwrap(), before);
}

#[tokio::test]
async fn a_local_folder_that_may_not_be_read_is_no_access_and_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    let uri = Uri::from_path(&folder.path().join("file/below a file")).unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let store = Store::open(&uri, &StoreOptions::anonymous()).unwrap();
    let error = store.read("manifest.json", 10).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
}

/// A web server of one object, on a free port; answers its address.
async fn serve(path: &'static str, body: &'static str) -> String {
    let router = axum::Router::new().route(path, axum::routing::get(async move || body));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address.to_string()
}

#[tokio::test]
async fn an_object_of_a_web_server_is_fetched_by_its_digest_and_never_written() {
    let address = serve("/data/mvtec.tar", "tar").await;
    let options = StoreOptions::anonymous();
    let open =
        |path: &str| Store::open(&format!("http://{address}{path}").parse().unwrap(), &options).unwrap();
    let store = open("/data/mvtec.tar");
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("mvtec.tar");
    let wrong = fetch_file(&store, "", Some(Digest::of("other")), &to).await.unwrap_err();
    assert!(matches!(wrong, FetchError::OtherDigest { .. }), "{wrong}");
    assert!(!Path::new(&to).exists());
    fetch_file(&store, "", Some(Digest::of("tar")), &to).await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), b"tar");
    let pinned = dataset::resolve(&store, Some(Digest::of("tar")), dataset::FingerprintMode::Manifest).await;
    let pinned = pinned.unwrap();
    assert_eq!((pinned.fingerprint, pinned.objects, pinned.bytes), (Digest::of("tar"), 1, 3));
    assert!(matches!(store.create("x", "y".into()).await, Err(StoreError::ReadOnly { .. })));
    let missing = open("/none").list(10).await.unwrap_err();
    assert!(matches!(missing, StoreError::NotFound { .. }), "{missing:?}");
}

#[tokio::test]
async fn a_store_that_nobody_serves_is_unreachable_within_the_time_to_retry() {
    // A port that was free a moment ago: nothing listens on it.
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let options =
        StoreOptions { retry_timeout: std::time::Duration::from_millis(1), ..StoreOptions::anonymous() };
    let options = options.with_settings(
        [
            ("AWS_ENDPOINT_URL", format!("http://{address}")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", "id".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "key".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    let store = Store::open(&"s3://bucket/data".parse().unwrap(), &options).unwrap();
    let error = dataset::Listing::of(&store).await.unwrap_err();
    let dataset::DatasetError::List { source, .. } = error else {
        panic!("{error:?} must be a failed listing")
    };
    assert!(source.is_transient(), "{source:?}");
}
