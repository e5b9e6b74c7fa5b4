//! The artifact of a run: head, loss curve, report, self-test, and the manifest last.

use std::path::Path;

use inctrl_storage::manifest::{
    BackboneRecord, DatasetRecord, HEAD_NAME, HeadRecord, MANIFEST_NAME, RunRecord, SelfTest,
};
use inctrl_storage::publish::PartSource;
use inctrl_storage::{Digest, Manifest, Part, SigningKey, Store, publish};

use super::JobError;
use super::gate::Evaluated;
use super::inputs::Inputs;
use super::self_test::Test;
use super::spec::JobSpec;
use crate::config::TrainConfig;
use crate::report::REPORT_FILE;
use crate::train::CURVE_NAME;

/// Name of the self-test's part.
const SELF_TEST_NAME: &str = "self-test.safetensors";

/// What becomes of a run.
pub(super) struct Artifact<'a> {
    pub(super) spec: &'a JobSpec,
    pub(super) inputs: &'a Inputs,
    pub(super) config: &'a TrainConfig,
    pub(super) evaluated: Evaluated,
    pub(super) test: Test,
}

impl Artifact<'_> {
    /// Publishes it; answers what is published there afterwards.
    pub(super) async fn publish(
        self,
        output: &Store,
        key: Option<&SigningKey>,
    ) -> Result<Manifest, JobError> {
        let Self { spec, inputs, config, evaluated, test } = self;
        let local = config.out.join(MANIFEST_NAME);
        let json = read(&local)?;
        let trained =
            Manifest::from_json(&json, None).map_err(|source| JobError::Manifest { path: local, source })?;
        let expected = Digest::from_hex(&spec.backbone.sha256);
        let record = RunRecord {
            run_key: Some(spec.run_key.clone()),
            spec_hash: Some(spec.spec_hash),
            head: HeadRecord { part: HEAD_NAME.to_owned(), ..trained.record.head.clone() },
            backbone: BackboneRecord { sha256: expected.ok(), ..trained.record.backbone.clone() },
            dataset: DatasetRecord {
                uri: spec.dataset.uri.clone(),
                fingerprint: inputs.data.fingerprint.clone(),
                labels: trained.record.dataset.labels,
            },
            gate: Some(evaluated.report),
            self_test: Some(SelfTest {
                part: SELF_TEST_NAME.to_owned(),
                expected: test.expected,
                tolerance: test.tolerance,
            }),
            ..trained.record
        };
        let part = |name: &str, bytes: Vec<u8>| Part {
            name: name.to_owned(),
            source: PartSource::Bytes(bytes.into()),
        };
        let parts = vec![
            part(HEAD_NAME, read(&config.out.join(HEAD_NAME))?),
            part(CURVE_NAME, read(&config.out.join(CURVE_NAME))?),
            part(REPORT_FILE, evaluated.html.into_bytes()),
            part(SELF_TEST_NAME, test.inputs.to_bytes()),
        ];
        Ok(publish(output, record, parts, key).await?.manifest)
    }
}

/// The key to sign with.
pub(super) fn signing_key(path: &Path) -> Result<SigningKey, JobError> {
    let pem = std::fs::read(path).map_err(|source| JobError::ReadKey { path: path.to_owned(), source })?;
    SigningKey::from_pem(&pem).map_err(|source| JobError::Key { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, JobError> {
    std::fs::read(path).map_err(|source| JobError::ReadBack { path: path.to_owned(), source })
}
