//! Stores that hold what they should not, and stores that hold nothing.

use std::path::Path;

use inctrl_storage::manifest::{BackboneRecord, DatasetRecord, HEAD_NAME, HeadRecord, RunRecord};
use inctrl_storage::publish::PartSource;
use inctrl_storage::{Digest, Fingerprint, Part, SigningKey};
use jiff::Timestamp;

use super::*;

/// Two keys that `openssl genpkey -algorithm ed25519` made, and the public half of the first.
const KEY: &str = "MC4CAQAwBQYDK2VwBCIEINX7SXY/XBIWMkNdrQrHHFOASGHD//eS3o6DcNDJiQeV";
const PUBLIC: &str = "MCowBQYDK2VwAyEAlbN1Id2ewtr6cEg2W14qlq3uwy+dOHimY3tQMu7WNtA=";
const OTHER_PUBLIC: &str = "MCowBQYDK2VwAyEAdaM6WeKz8TS9r6w2liMKXWxcXTvIelnUJgiQPT3JK68=";

fn pem(kind: &str, base64: &str) -> String {
    format!("-----BEGIN {kind}-----\n{base64}\n-----END {kind}-----\n")
}

fn stores(root: &Path) -> Stores {
    Stores { settings: BTreeMap::new(), pvc_root: root.to_owned() }
}

/// Publishes a head as the trainer does; the URI of its folder.
async fn publish_in(stores: &Stores, folder: &str, key: Option<&SigningKey>) -> Uri {
    let uri: Uri = format!("pvc://data/{folder}").parse().unwrap();
    let data = || DatasetRecord {
        uri: "pvc://data/d".parse().unwrap(),
        fingerprint: Fingerprint {
            fingerprint: Digest::of("d"),
            mode: FingerprintMode::Manifest,
            objects: 1,
            bytes: 1,
        },
        labels: None,
    };
    let record = RunRecord {
        created_at: Timestamp::UNIX_EPOCH,
        trainer: "test".to_owned(),
        run_key: Some("abc".to_owned()),
        spec_hash: None,
        head: HeadRecord { kind: "paper".to_owned(), part: HEAD_NAME.to_owned() },
        backbone: BackboneRecord { name: "b".to_owned(), digest: Digest::of("b"), sha256: None },
        dataset: data(),
        hyperparameters: BTreeMap::new(),
        gate: None,
        self_test: None,
    };
    let part = Part { name: HEAD_NAME.to_owned(), source: PartSource::Bytes(folder.to_owned().into()) };
    let store = stores.open(&uri, None).unwrap();
    publish::publish(&store, record, vec![part], key).await.unwrap();
    uri
}

#[test]
fn figures_are_rounded_never_in_favour() {
    let figure =
        |name: &str, value| metrics(&[Metric { name: name.to_owned(), split: None, value }]).remove(0);
    assert_eq!(figure("imageAUROC", 0.85).basis_points, Some(8500));
    assert_eq!(figure("imageAUROC", 0.849_99).basis_points, Some(8499));
    assert_eq!(figure("latencyP99Millis", 40.0).value, Some(40));
    assert_eq!(figure("latencyP99Millis", 40.01).value, Some(41));
}

#[tokio::test]
async fn what_cannot_be_had_has_a_name() {
    let root = tempfile::tempdir().unwrap();
    let stores = stores(root.path());
    let missing = stores.dataset(&"pvc://data/none".parse().unwrap(), None, FingerprintKind::Manifest).await;
    let reason = missing.unwrap_err().reason;
    assert!(["NotFound", "Empty"].contains(&reason), "{reason}");
    std::fs::create_dir_all(root.path().join("data/empty")).unwrap();
    let empty = stores.dataset(&"pvc://data/empty".parse().unwrap(), None, FingerprintKind::Manifest).await;
    assert_eq!(empty.unwrap_err().reason, "Empty");
    let artifact = stores.artifact(&"pvc://data/empty".parse().unwrap(), None, None).await;
    assert_eq!(artifact.unwrap_err().reason, "ArtifactMissing");
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_told_within_five_seconds() {
    let root = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let settings = [
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "here".to_owned()),
        ("AWS_ACCESS_KEY_ID", "a".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "b".to_owned()),
    ];
    let secret = settings.map(|(name, value)| (name.to_owned(), value)).into();
    let stores = stores(root.path());
    let uri = "s3://bucket/data".parse().unwrap();
    let asked = stores.dataset(&uri, Some(&secret), FingerprintKind::Manifest);
    let trouble = timeout(Duration::from_secs(5), asked).await.expect("in time").unwrap_err();
    assert_eq!(trouble.reason, "Unreachable", "{}", trouble.message);
    let said = "cannot reach s3://bucket/data; it was tried again until the time limit";
    assert_eq!(trouble.message, said, "times, tries and names of requests would be a status write each");
}

#[tokio::test]
async fn a_secret_cannot_make_the_operator_send_its_own_files_or_credentials() {
    let root = tempfile::tempdir().unwrap();
    let token = root.path().join("token");
    std::fs::write(&token, "the operator's own").unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let theirs = format!("http://{}", listener.local_addr().unwrap());
    let token = token.to_str().unwrap().to_owned();
    let mut stores = stores(root.path());
    stores.settings = [("aws_access_key_id", "own"), ("aws_secret_access_key", "own")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let place = [("AWS_ENDPOINT_URL", theirs.as_str()), ("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "here")];
    let asks = [
        vec![],
        vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", theirs.as_str()),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.as_str()),
        ],
        vec![
            ("AWS_ROLE_ARN", "arn"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
            ("AWS_ENDPOINT_URL_STS", theirs.as_str()),
        ],
    ];
    for ask in asks {
        let all = place.into_iter().chain(ask);
        let secret = all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let uri = "s3://bucket/data".parse().unwrap();
        let asked = stores.dataset(&uri, Some(&secret), FingerprintKind::Manifest);
        tokio::select! {
            trouble = asked => assert_eq!(trouble.unwrap_err().reason, "SecretRefused"),
            _ = listener.accept() => panic!("it was asked"),
        }
    }
}

#[tokio::test]
async fn a_manifest_that_was_altered_or_signed_by_another_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let stores = stores(root.path());
    let key = SigningKey::from_pem(pem("PRIVATE KEY", KEY).as_bytes()).unwrap();
    let trusted = |public: &str| {
        let secret = BTreeMap::from([("key.pub".to_owned(), pem("PUBLIC KEY", public))]);
        verifying_key(&secret).unwrap()
    };
    let signed = publish_in(&stores, "u-1/signed", Some(&key)).await;
    let read = stores.artifact(&signed, None, Some(&trusted(PUBLIC))).await.unwrap();
    assert_eq!(read.run_key.as_deref(), Some("abc"));
    let refused = async |uri: &Uri, key: Option<&VerifyingKey>| {
        let trouble = stores.artifact(uri, None, key).await.unwrap_err();
        assert_eq!(trouble.reason, "DigestMismatch", "{}", trouble.message);
        trouble.message
    };
    let said = refused(&signed, Some(&trusted(OTHER_PUBLIC))).await;
    assert!(said.contains("is trusted"), "{said}");
    let unsigned = publish_in(&stores, "u-1/unsigned", None).await;
    refused(&unsigned, Some(&trusted(PUBLIC))).await;
    let manifest = root.path().join("data/u-1/signed").join(MANIFEST_NAME);
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"abc\"", "\"xyz\"")).unwrap();
    refused(&signed, Some(&trusted(PUBLIC))).await;
    std::fs::write(&manifest, text.get(..text.len() / 2).unwrap()).unwrap();
    refused(&signed, None).await;
    assert_eq!(verifying_key(&BTreeMap::new()).unwrap_err().reason, "SignatureInvalid");
}

/// Regressions 17 and 19.
#[tokio::test]
async fn what_a_deleted_model_published_goes_and_what_its_namesake_did_stays() {
    let root = tempfile::tempdir().unwrap();
    let stores = stores(root.path());
    publish_in(&stores, "u-1/abc", None).await;
    publish_in(&stores, "u-1/def", None).await;
    let other = publish_in(&stores, "u-2/abc", None).await;
    let deleted = stores.delete_artifacts(&"pvc://data/u-1".parse().unwrap(), None).await;
    assert_eq!(deleted, Ok(2));
    assert!(!root.path().join("data/u-1/abc").join(MANIFEST_NAME).exists());
    assert_eq!(stores.artifact(&other, None, None).await.unwrap().run_key.as_deref(), Some("abc"));
    let nothing = stores.delete_artifacts(&"pvc://data/u-3".parse().unwrap(), None).await;
    assert!(matches!(&nothing, Ok(0) | Err(Trouble { reason: "NotFound", .. })), "{nothing:?}");
}
