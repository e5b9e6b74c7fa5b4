//! `spec.gate`, `spec.rollout`, `spec.serving` and `spec.artifacts`: what a head must show, how it reaches the servers,
//! and where it is kept.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::{DIGEST, LocalReference, WRITABLE_URI, int, switch};
use super::training::Dataset;

/// What a trained head must show before any server gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Held-out labelled images that training never sees.
    pub dataset: Dataset,
    /// Bounds; all must hold.
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub metrics: Vec<GateMetric>,
    /// Fewest images that the bounds are judged on; with fewer the gate is not passed.
    #[serde(default = "int::<100>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_samples: i64,
}

/// Bounds on one metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.minBasisPoints) || has(self.maxValue) || has(self.maxRegressionBasisPoints)",
        "message": "a gate metric needs at least one bound: minBasisPoints, maxRegressionBasisPoints or maxValue",
    },
    {
        "rule": "self.name == 'latencyP99Millis' ? !has(self.minBasisPoints) : !has(self.maxValue)",
        "message": "minBasisPoints is for quality metrics, maxValue for latency",
    },
]))]
pub struct GateMetric {
    /// Which metric.
    pub name: MetricName,
    /// Part of the gate data set, such as a category. The whole where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub split: Option<String>,
    /// Least value of a quality metric, in basis points: 8500 is 0.85.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub min_basis_points: Option<i64>,
    /// Largest latency, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_value: Option<i64>,
    /// How much worse than the active head on the same images, in basis points: of the metric itself for quality
    /// (50 is 0.005), of the active head's latency for latency (500 is 5 percent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub max_regression_basis_points: Option<i64>,
}

/// A metric that a gate can bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MetricName {
    /// Area under the receiver operating characteristic, by image.
    #[serde(rename = "imageAUROC")]
    ImageAuroc,
    /// Area under precision and recall, by image.
    #[serde(rename = "imageAUPRC")]
    ImageAuprc,
    /// Largest F1 over all thresholds, by image.
    #[serde(rename = "f1Max")]
    F1Max,
    /// 99th percentile of the time of one query, in milliseconds.
    #[serde(rename = "latencyP99Millis")]
    LatencyP99Millis,
}

impl MetricName {
    /// As it stands in the spec, the manifest and the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ImageAuroc => "imageAUROC",
            Self::ImageAuprc => "imageAUPRC",
            Self::F1Max => "f1Max",
            Self::LatencyP99Millis => "latencyP99Millis",
        }
    }
}

/// How a head that passed the gate reaches the servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Automatic, or Manual: the head waits until approvedDigest names it.
    #[serde(default)]
    pub approval: Approval,
    /// The head that may be rolled out, by digest, where approval is Manual. Names one head, so that approving cannot
    /// race with the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = DIGEST))]
    pub approved_digest: Option<String>,
    /// Whether a candidate that fails its analysis is taken back without asking. Otherwise it stays at its weight.
    #[serde(default = "switch::<true>")]
    pub auto_rollback: bool,
    /// How long a rollout may stand still beyond a step's pause, in seconds.
    #[serde(default = "int::<900>")]
    #[schemars(range(min = 30, max = 86_400))]
    pub progress_deadline_seconds: i64,
    /// How long the former head stays ready for a return after promotion, in seconds.
    #[serde(default = "int::<0>")]
    #[schemars(range(min = 0, max = 604_800))]
    pub bake_seconds: i64,
    /// Shares of requests that the candidate answers, one after another; the last is 100.
    #[serde(default = "all_at_once")]
    #[schemars(length(min = 1, max = 10), extend(
        "x-kubernetes-list-type" = "atomic",
        "x-kubernetes-validations" = [{
            "rule": "self.map(s, s.weight).isSorted() && self.all(s, self.exists_one(t, t.weight == s.weight)) \
                     && self[size(self)-1].weight == 100",
            "message": "step weights must strictly increase and end at 100",
        }]
    ))]
    pub steps: Vec<Step>,
    /// What is watched while the candidate answers.
    #[serde(default)]
    pub analysis: Analysis,
}

fn all_at_once() -> Vec<Step> {
    vec![Step { weight: 100, pause_seconds: int::<60>() }]
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            approval: Approval::default(),
            approved_digest: None,
            auto_rollback: true,
            progress_deadline_seconds: 900,
            bake_seconds: 0,
            steps: all_at_once(),
            analysis: Analysis::default(),
        }
    }
}

/// Who says that a head may be rolled out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// The gate alone.
    #[default]
    Automatic,
    /// A person, by approvedDigest.
    Manual,
}

/// One share of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Percent of requests that the candidate answers.
    #[schemars(range(min = 1, max = 100))]
    pub weight: i64,
    /// How long to stay at this weight at least, in seconds.
    #[serde(default = "int::<60>")]
    #[schemars(range(min = 0, max = 604_800))]
    pub pause_seconds: i64,
}

/// What is watched while the candidate answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// How often to look, in seconds.
    #[serde(default = "int::<30>")]
    #[schemars(range(min = 5, max = 3600))]
    pub interval_seconds: i64,
    /// How many failed looks a rollout survives.
    #[serde(default = "int::<2>")]
    #[schemars(range(min = 0, max = 100))]
    pub failure_limit: i64,
    /// Fewest requests that the candidate must have seen in a step; the step lasts until then. Silence never passes.
    #[serde(default = "int::<50>")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min_requests: i64,
    /// Largest share of the candidate's requests that fail, in basis points.
    #[serde(default = "int::<100>")]
    #[schemars(range(min = 0, max = 10_000))]
    pub max_error_rate_basis_points: i64,
    /// Largest 99th percentile of the candidate's time for a query, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600_000))]
    pub max_latency_p99_millis: Option<i64>,
    /// Largest mean distance of the candidate's score from the active head's on the same images, in basis points of
    /// the score's range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub max_score_drift_basis_points: Option<i64>,
}

impl Default for Analysis {
    fn default() -> Self {
        Self {
            interval_seconds: 30,
            failure_limit: 2,
            min_requests: 50,
            max_error_rate_basis_points: 100,
            max_latency_p99_millis: None,
            max_score_drift_basis_points: None,
        }
    }
}

/// Which servers answer with this model's heads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Serving {
    /// Selects the scoring servers' pods in the same namespace. Immutable: make another InCTRLModel for other servers.
    pub selector: ServerSelector,
    /// Port of the servers' rollout (admin) listener, where their pods name none `admin-grpc`.
    #[serde(default = "int::<8443>")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i64,
    /// Name that requests ask for. The name of the InCTRLModel where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub model_name: Option<String>,
}

/// Selects pods by label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerSelector {
    /// Labels that a server's pod has, all of them.
    #[schemars(schema_with = "few_labels")]
    pub match_labels: BTreeMap<String, String>,
}

fn few_labels(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "additionalProperties": { "type": "string", "maxLength": 63 },
        "minProperties": 1,
        "maxProperties": 8,
    })
}

/// Where trained heads are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifacts {
    /// Folder under which every run publishes, as `<uri>/<uid>/<run key>/`.
    #[schemars(length(max = 2048), regex(pattern = WRITABLE_URI))]
    pub uri: String,
    /// Secret with the store's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
    /// Secret with the ed25519 key that manifests are signed with (`key.pem`) and checked with (`key.pub`). Unsigned
    /// where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key_ref: Option<LocalReference>,
}

/// What happens to a model's artifacts when its InCTRLModel is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay.
    #[default]
    Retain,
    /// They are deleted with it.
    Delete,
}
