//! `status`: what the operator found, did and is about to do. Written by the operator alone; every field that decides
//! something is durable here, so that a restarted operator goes on where the last one ended.
#![expect(clippy::doc_markdown, reason = "these sentences are what `kubectl explain` prints")]

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::conditions::Condition;

/// What became of an InCTRLModel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InCTRLModelStatus {
    /// Generation of the spec that the rest of the status answers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// One word for people. Programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub phase: Option<String>,
    /// Ready, DatasetResolved, Trained, GatePassed, Progressing, Degraded, Suspended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// The head that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<Revision>,
    /// The head that is tried beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Revision>,
    /// The time after a promotion in which the former head is kept ready for a return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Bake>,
    /// Heads of the past and the present, newest first, at most revisionHistoryLimit; the newest, the active one and the one
    /// kept for a return are never left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 20),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["revision"])
    )]
    pub history: Vec<Revision>,
    /// Number of the newest head that there ever was: its row may be gone, the number is not given again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub last_revision: Option<i64>,
    /// The training data set as it was last seen to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetStatus>,
    /// The newest training run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The rollout of the candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// The selected scoring servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<Servers>,
    /// When the schedule next starts a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Timestamp>,
    /// Value of the annotation inctrl.dev/retrain-at that was last acted on; the sha256 of one longer than 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub retrained_at: Option<String>,
    /// The head that the gate or the canary last refused. It is not tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub rejected_digest: Option<String>,
    /// Earliest time of the next run after one that failed for reasons of infrastructure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_not_before: Option<Timestamp>,
}

/// One immutable head of the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Counts up from 1; never used twice.
    #[schemars(range(min = 1))]
    pub revision: i64,
    /// "sha256:" and the digest of the head's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// Folder of the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2304))]
    pub uri: Option<String>,
    /// Hash of the training inputs of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub spec_hash: Option<String>,
    /// Fingerprint of the data set that it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub dataset_fingerprint: Option<String>,
    /// Digest of the backbone it goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub backbone_digest: Option<String>,
    /// Fingerprint of the gate data set that its metrics were measured on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub gate_fingerprint: Option<String>,
    /// Number of gate images that its metrics were measured on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub gate_samples: Option<i64>,
    /// Job that trained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub job_name: Option<String>,
    /// Metrics on the gate data set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub metrics: Vec<RevisionMetric>,
    /// When its training ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_at: Option<Timestamp>,
    /// When it became active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_at: Option<Timestamp>,
    /// What became of it: Candidate, Active, Superseded, Rejected, RolledBack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub phase: Option<String>,
    /// Why, where it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reason: Option<String>,
}

/// One metric of a head.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionMetric {
    /// Which metric; with its split as "metric/split", the end of a long one replaced by a digest.
    #[schemars(length(max = 127))]
    pub name: String,
    /// A quality metric, in basis points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis_points: Option<i64>,
    /// A latency, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
}

/// The training data set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatasetStatus {
    /// "sha256:" and the fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub fingerprint: Option<String>,
    /// Number of objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub objects: Option<i64>,
    /// Sum of their sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub bytes: Option<i64>,
    /// When this fingerprint was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Timestamp>,
}

/// One training run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Name of its Job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub job_name: Option<String>,
    /// Names the run by what goes into it: the end of the Job's name and of the artifact's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub key: Option<String>,
    /// What started it: SpecChange, DatasetChange, Schedule, Manual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub trigger: Option<String>,
    /// The schedule's tick, the annotation's value or the number of the retry, where that is part of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub nonce: Option<String>,
    /// Hash of the training inputs of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub spec_hash: Option<String>,
    /// Fingerprint of the data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub dataset_fingerprint: Option<String>,
    /// What became of it: Pending, Running, Succeeded, Failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub outcome: Option<String>,
    /// Why, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reason: Option<String>,
    /// How many runs of these inputs failed for reasons of infrastructure before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub attempt: Option<i64>,
    /// When the Job began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// How far it is, in steps of 25 percent; told when a pod of it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub progress_percent: Option<i64>,
}

/// The rollout of the candidate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// Step of the rollout, from 0; absent while the candidate is being loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub step: Option<i64>,
    /// Percent of requests that the candidate answers.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub weight: i64,
    /// When the step began, or the loading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_started_at: Option<Timestamp>,
    /// How many looks failed in this rollout.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub failures: i64,
    /// When the last failed look was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    /// Requests that the candidate had seen when the step began, or when servers came or went since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub base_requests: Option<i64>,
    /// Errors that the candidate had made by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub base_errors: Option<i64>,
    /// On how many servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub base_servers: Option<i64>,
}

/// The time after a promotion in which the former head is kept ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bake {
    /// Revision that is kept ready.
    #[schemars(range(min = 1))]
    pub standby_revision: i64,
    /// When the promotion was.
    pub started_at: Timestamp,
    /// How many looks failed since.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub failures: i64,
    /// When the last failed look was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    /// Requests that the head had seen at its promotion, or when servers came or went since.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub base_requests: i64,
    /// Errors that it had made by then.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub base_errors: i64,
    /// On how many servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub base_servers: Option<i64>,
}

/// The selected scoring servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Servers {
    /// How many there are.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub total: i64,
    /// How many report the active head's digest.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub active: i64,
    /// How many report the candidate's digest; while it is preloaded not told before ten seconds are over.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub candidate: i64,
    /// How many did not answer.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub unreachable: i64,
}
