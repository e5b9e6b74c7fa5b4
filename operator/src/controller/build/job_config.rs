//! `job.yaml`: what one training run is told. The trainer reads it; nothing else passes between the two but exit code,
//! termination message and artifact.

use inctrl_storage::UriError;
use serde::Serialize;

use super::volumes::{SECRETS, secret_folder};
use crate::controller::plan::{HeadRef, JobIntent};
use crate::controller::validate::ValidModel;
use crate::crd::{Dataset, FingerprintKind, HeadKind, Hyperparameters, LocalReference};

/// The schema that this version writes.
pub const SCHEMA: &str = "inctrl.dev/job/v1";

/// What one training run is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobConfig<'a> {
    schema: &'static str,
    /// Name of the run; the artifact echoes it.
    run_key: &'a str,
    /// Hash of the training inputs, `sha256:…`; the artifact echoes it.
    spec_hash: String,
    backbone: BackbonePart<'a>,
    head: HeadKind,
    hyperparameters: &'a Hyperparameters,
    dataset: DatasetPart<'a>,
    gate: GatePart<'a>,
    output: OutputPart,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BackbonePart<'a> {
    name: &'a str,
    uri: &'a str,
    sha256: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DatasetPart<'a> {
    uri: &'a str,
    fingerprint_mode: FingerprintKind,
    /// What it was when the run was decided on; a run over something else is a run in vain.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_folder: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatePart<'a> {
    dataset: DatasetPart<'a>,
    min_samples: i64,
    /// The head to evaluate beside the new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<ActivePart>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ActivePart {
    digest: String,
    uri: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OutputPart {
    /// Folder of the artifact.
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_folder: Option<String>,
    /// File of the key to sign the manifest with.
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_key_file: Option<String>,
}

impl<'a> JobConfig<'a> {
    /// What a run is told.
    pub fn new(model: &'a ValidModel, uid: &str, intent: &'a JobIntent) -> Result<Self, UriError> {
        let spec = &model.spec;
        let active = intent.active.as_ref();
        let artifacts = &spec.artifacts;
        Ok(Self {
            schema: SCHEMA,
            run_key: &intent.key,
            spec_hash: format!("sha256:{}", intent.spec_hash),
            backbone: BackbonePart {
                name: &spec.backbone.name,
                uri: &spec.backbone.uri,
                sha256: &spec.backbone.sha256,
            },
            head: spec.training.head,
            hyperparameters: &spec.training.hyperparameters,
            dataset: dataset(&spec.training.dataset, Some(&intent.fingerprint)),
            gate: GatePart {
                dataset: dataset(&spec.gate.dataset, None),
                min_samples: spec.gate.min_samples,
                active: active.map(|HeadRef { revision: _, digest, uri }| ActivePart {
                    digest: digest.clone(),
                    uri: uri.to_string(),
                }),
            },
            output: OutputPart {
                uri: model.artifact(uid, &intent.key)?.to_string(),
                secret_folder: folder(artifacts.secret_ref.as_ref()),
                signing_key_file: artifacts
                    .signing_key_ref
                    .as_ref()
                    .map(|key| format!("{SECRETS}/{}/key.pem", key.name)),
            },
        })
    }
}

fn dataset<'a>(dataset: &'a Dataset, fingerprint: Option<&'a str>) -> DatasetPart<'a> {
    let Dataset { uri, sha256, secret_ref, fingerprint: mode, refresh_period_seconds: _ } = dataset;
    DatasetPart {
        uri,
        fingerprint_mode: *mode,
        fingerprint,
        sha256: sha256.as_deref(),
        secret_folder: folder(secret_ref.as_ref()),
    }
}

fn folder(secret: Option<&LocalReference>) -> Option<String> {
    secret.map(|secret| secret_folder(&secret.name))
}
