//! The conformance suite over S3.

use inctrl_storage::{StoreError, conformance};

use crate::SERVER;
use crate::server::S3Server;

/// Number of checks: a suite that checks nothing must not pass.
const CHECKS: usize = 12;

pub(crate) async fn passes() {
    let store = S3Server::store(&format!("s3://{}/prefix", SERVER.bucket()), SERVER.address());
    let scratch = tempfile::tempdir().unwrap();
    match conformance::check(&store, scratch.path()).await {
        Ok(checks) => assert_eq!(checks.len(), CHECKS, "{checks:?}"),
        Err(violation) => panic!("{violation}: {:?}", std::error::Error::source(&violation)),
    }
}

pub(crate) async fn a_missing_bucket_is_not_found() {
    let store = S3Server::store("s3://nobodys-bucket/prefix", SERVER.address());
    let error = store.list(10).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
    assert!(error.to_string().contains("s3://nobodys-bucket/prefix"), "{error}");
}
