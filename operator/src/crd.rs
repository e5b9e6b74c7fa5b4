//! The resource `inctrlmodels.inctrl.dev/v1alpha1` (kind `InCTRLModel`, short name `icm`) as Rust types, and the
//! definition that the API server gets.
//!
//! The schema is written for a reader of `kubectl explain`: every field says its unit, its default and what to do.
//! What the API server can check it checks (CEL, no webhook); messages say what to write instead.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod conditions;
mod fields;
mod rollout;
mod status;
mod training;

pub use fields::LocalReference;
pub use rollout::{
    Analysis, Approval, Artifacts, DeletionPolicy, Gate, GateMetric, MetricName, Rollout, ServerSelector,
    Serving, Step,
};
pub use status::{Bake, Canary, DatasetStatus, InCTRLModelStatus, Revision, RevisionMetric, Run, Servers};
pub use training::{Backbone, Dataset, FingerprintKind, HeadKind, Hyperparameters, RetrainTrigger, Training};

use fields::{int, switch};

/// Group of the resource and prefix of its labels and annotations.
pub const GROUP: &str = "inctrl.dev";

/// Annotation that starts a run whenever its value changes: an RFC 3339 time, as `kubectl annotate --overwrite` writes it.
pub const RETRAIN_AT: &str = "inctrl.dev/retrain-at";

/// Finalizer under which a deleted model's servers and artifacts are cleaned up.
pub const FINALIZER: &str = "inctrl.dev/cleanup";

/// What a model is trained from, what it must show, and how its heads reach the scoring servers.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "inctrl.dev",
    version = "v1alpha1",
    kind = "InCTRLModel",
    plural = "inctrlmodels",
    singular = "inctrlmodel",
    shortname = "icm",
    category = "inctrl",
    namespaced,
    status = "InCTRLModelStatus",
    derive = "PartialEq",
    doc = "A named line of anomaly-detection heads: trained, gated, canaried and served as its spec says.",
    validation = kube::core::Rule::new("size(self.metadata.name) <= 63")
        .message("metadata.name must be at most 63 characters: it is part of Job names and labels"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.active.revision"),
    printcolumn(name = "Canary", type_ = "integer", json_path = ".status.canary.weight"),
    printcolumn(name = "Servers", type_ = "integer", json_path = ".status.servers.active"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Digest", type_ = "string", priority = 1, json_path = ".status.active.digest"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    selectable = ".spec.suspend"
)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.rollout.approvedDigest) || self.rollout.approval == 'Manual'",
        "message": "approvedDigest is only for approval: Manual",
    },
    {
        "rule": "self.serving.selector == oldSelf.serving.selector",
        "message": "serving.selector is immutable: make another InCTRLModel for other servers",
        "fieldPath": ".serving.selector",
    },
]))]
pub struct InCTRLModelSpec {
    /// The frozen backbone.
    pub backbone: Backbone,
    /// How heads are trained, and when again.
    pub training: Training,
    /// What a head must show before any server gets it.
    pub gate: Gate,
    /// How a head reaches the servers.
    #[serde(default)]
    pub rollout: Rollout,
    /// Which servers answer with it.
    pub serving: Serving,
    /// Where heads are kept.
    pub artifacts: Artifacts,
    /// Holds the servers at this revision of the history: a rollback that lasts. Training goes on; its heads wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub pinned_revision: Option<i64>,
    /// Stops training and rollouts where they are. Servers keep answering.
    #[serde(default = "switch::<false>")]
    pub suspend: bool,
    /// How many heads the history remembers.
    #[serde(default = "int::<10>")]
    #[schemars(range(min = 1, max = 20))]
    pub revision_history_limit: i64,
    /// Retain or Delete the artifacts when this InCTRLModel is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// The definition as the API server gets it.
///
/// # Errors
///
/// When the derived schema is not one, which a test rules out.
pub fn definition() -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut definition = serde_json::to_value(InCTRLModel::crd())?;
    fields::tighten(&mut definition);
    serde_json::from_value(definition)
}

/// The definition as YAML. With `keep`, Helm leaves it on the cluster when the release is removed.
pub fn definition_yaml(keep: bool) -> Result<String, DefinitionError> {
    let mut definition = definition()?;
    if keep {
        let annotations = definition.metadata.annotations.get_or_insert_default();
        annotations.insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    }
    Ok(serde_yaml::to_string(&definition)?)
}

/// Why the definition cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The schema is not one.
    #[error("the schema of InCTRLModel is not a definition")]
    Schema(#[from] serde_json::Error),
    /// It is not YAML.
    #[error("the definition of InCTRLModel cannot be written as YAML")]
    Yaml(#[from] serde_yaml::Error),
}

#[cfg(test)]
mod tests;
