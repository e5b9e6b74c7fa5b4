//! `spec.backbone` and `spec.training`: what a head is trained from.
#![expect(clippy::doc_markdown, reason = "these sentences are what `kubectl explain` prints")]

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fields::{LocalReference, READABLE_URI, SHA256, int};

/// The frozen backbone that heads are trained on top of and served with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backbone {
    /// Name of the backbone's open_clip configuration.
    #[serde(default = "backbone_name")]
    #[schemars(length(max = 63))]
    pub name: String,
    /// Folder with the backbone (open_clip_config.json, open_clip_model.safetensors, tokenizer files), or its weights.
    #[schemars(length(max = 2048), regex(pattern = READABLE_URI))]
    pub uri: String,
    /// sha256 of the backbone, 64 lower-case hexadecimal digits. A run refuses a backbone with another digest.
    #[schemars(length(max = 64), regex(pattern = SHA256))]
    pub sha256: String,
}

fn backbone_name() -> String {
    "ViT-B-16-plus-240".to_owned()
}

/// A labelled image data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!self.uri.startsWith('http') || has(self.sha256)",
    "message": "an http(s) dataset must pin sha256: a web server cannot be listed, so its bytes name it",
    "fieldPath": ".sha256",
}]))]
pub struct Dataset {
    /// Where the data set lies.
    #[schemars(length(max = 2048), regex(pattern = READABLE_URI))]
    pub uri: String,
    /// Pins the data set to this sha256, 64 lower-case hexadecimal digits. Required for http and https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = SHA256))]
    pub sha256: Option<String>,
    /// Secret with the store's credentials, keyed like the clouds' environment variables (AWS_ACCESS_KEY_ID, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
    /// What is hashed to tell whether the data set changed: Manifest (path, size and etag of every object) or Content
    /// (every byte).
    #[serde(default)]
    pub fingerprint: FingerprintKind,
    /// How often to look whether the data set changed, in seconds.
    #[serde(default = "int::<3600>")]
    #[schemars(range(min = 60, max = 604_800))]
    pub refresh_period_seconds: i64,
}

/// What is hashed to tell whether a data set changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FingerprintKind {
    /// Path, size and etag of every object.
    #[default]
    Manifest,
    /// Every byte.
    Content,
}

/// How heads are trained, and when again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.schedule) == self.retrainOn.exists(r, r == 'Schedule')",
    "message": "schedule and retrainOn: [Schedule] go together: give both or neither",
}]))]
pub struct Training {
    /// The auxiliary data set: labelled images that the head is trained on, never those it is later used on.
    pub dataset: Dataset,
    /// Which head is trained: Paper (adapter and two score heads, as published) or Contextual (residual statistics
    /// relative to the prompt set's own).
    #[serde(default)]
    pub head: HeadKind,
    /// Image of inctrl-trainer. The operator's own setting where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image: Option<String>,
    /// What is set for the run. A change trains a new head.
    #[serde(default)]
    pub hyperparameters: Hyperparameters,
    /// Resource requests and limits of the training container, as in a Pod. Not part of what makes a head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_form")]
    pub resources: Option<Map<String, Value>>,
    /// How many failed pods of one run are replaced before the run has failed.
    #[serde(default = "int::<2>")]
    #[schemars(range(min = 0, max = 20))]
    pub backoff_limit: i64,
    /// How long one run may take, in seconds.
    #[serde(default = "int::<86_400>")]
    #[schemars(range(min = 60, max = 1_209_600))]
    pub active_deadline_seconds: i64,
    /// How long a finished Job is kept after its outcome stands in the status, in seconds.
    #[serde(default = "int::<3600>")]
    #[schemars(range(min = 60, max = 604_800))]
    pub ttl_seconds_after_finished: i64,
    /// What starts a new run by itself: SpecChange, DatasetChange, Schedule. The annotation inctrl.dev/retrain-at
    /// always does.
    #[serde(default = "on_spec_change")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub retrain_on: Vec<RetrainTrigger>,
    /// When to train anew: five cron fields, such as "0 3 * * 0".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub schedule: Option<String>,
    /// Time zone of the schedule by its IANA name, such as Europe/Berlin. UTC where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub time_zone: Option<String>,
}

fn on_spec_change() -> Vec<RetrainTrigger> {
    vec![RetrainTrigger::SpecChange]
}

/// An object whose fields are not looked at here: the API server checks them when the Job is made, and a value that a
/// stricter type could not read must not stop the watch of every other object.
fn free_form(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// Which head is trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HeadKind {
    /// Adapter and two score heads, as published.
    #[default]
    Paper,
    /// Residual statistics relative to the prompt set's own.
    Contextual,
}

/// What starts a new run by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RetrainTrigger {
    /// Backbone, image, head or hyper-parameters changed.
    SpecChange,
    /// The data set's fingerprint changed.
    DatasetChange,
    /// The schedule's time came.
    Schedule,
}

/// What is set for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hyperparameters {
    /// Passes over the episodes.
    #[serde(default = "int::<10>")]
    #[schemars(range(min = 1, max = 10_000))]
    pub epochs: i64,
    /// Episodes of one step: even, half of them on normal and half on anomalous images.
    #[serde(default = "int::<48>")]
    #[schemars(range(min = 2, max = 4096), extend("x-kubernetes-validations" = [{
        "rule": "self % 2 == 0",
        "message": "batchSize must be even: half of the episodes are on normal, half on anomalous images",
    }]))]
    pub batch_size: i64,
    /// Learning rate, a decimal number in quotes, such as "0.001".
    #[serde(default = "learning_rate")]
    #[schemars(length(max = 24), regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    pub learning_rate: String,
    /// Normal images of a prompt set in training, as many as one has in use: 16 at most.
    #[serde(default = "int::<8>")]
    #[schemars(range(min = 1, max = 16))]
    pub shots: i64,
    /// Seed of every random draw.
    #[serde(default = "int::<0>")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub seed: i64,
}

fn learning_rate() -> String {
    "0.001".to_owned()
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self { epochs: 10, batch_size: 48, learning_rate: learning_rate(), shots: 8, seed: 0 }
    }
}
