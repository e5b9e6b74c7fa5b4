//! Second step: the spec becomes a [`ValidModel`], once. Pure.
//!
//! The API server has checked what its schema can say; here is what it cannot: cron expressions, time zones, URIs, resource
//! quantities. What is below never checks again.

use inctrl_storage::{Scheme, Uri, UriError};
use k8s_openapi::api::core::v1::ResourceRequirements;

use super::keys;
use super::plan::schedule::{Schedule, ScheduleError};
use crate::crd::{Dataset, InCTRLModelSpec};

/// A spec that can be acted on.
#[derive(Debug, Clone)]
pub struct ValidModel {
    /// The spec as it was read, defaults filled in.
    pub spec: InCTRLModelSpec,
    /// Hash of its training inputs.
    pub spec_hash: String,
    /// The training data set.
    pub training: Uri,
    /// The gate data set.
    pub gate: Uri,
    /// The backbone.
    pub backbone: Uri,
    /// Where artifacts go.
    pub artifacts: Uri,
    /// When to train by the clock.
    pub schedule: Option<Schedule>,
}

/// What the operator lets resources ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Whether `file://` may be used: it names paths of whatever node a pod lands on.
    pub file_uris: bool,
}

/// Why a spec cannot be acted on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSpec {
    /// A URI that cannot be used.
    #[error("spec.{field} cannot be used")]
    Uri {
        /// Where in the spec.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: UriError,
    },
    /// A URI of the node's own disk.
    #[error(
        "spec.{field} names a path of the node; use a store or pvc://, or start the operator with --allow-file-uris"
    )]
    FileUri {
        /// Where in the spec.
        field: &'static str,
    },
    /// A schedule that cannot be read.
    #[error("spec.training.schedule cannot be used")]
    Schedule(#[source] ScheduleError),
    /// Resources that are none.
    #[error("spec.training.resources is not what a Pod's container has under resources")]
    Resources(#[source] serde_json::Error),
    /// The model's name cannot be one of a model.
    #[error(
        "the name {name:?} cannot be asked for in requests; set spec.serving.modelName to 1 to 63 of a-z, 0-9 and -"
    )]
    ModelName {
        /// The name.
        name: String,
    },
    /// The inputs cannot be hashed.
    #[error("the training inputs cannot be written canonically")]
    Hash(#[source] inctrl_storage::canonical::CanonicalError),
}

/// Checks a spec.
pub fn validate(name: &str, spec: &InCTRLModelSpec, allowed: Allowed) -> Result<ValidModel, InvalidSpec> {
    let uri = |field, text: &str| {
        let uri: Uri = text.parse().map_err(|source| InvalidSpec::Uri { field, source })?;
        if uri.scheme() == Scheme::File && !allowed.file_uris {
            return Err(InvalidSpec::FileUri { field });
        }
        Ok(uri)
    };
    let training = &spec.training;
    let schedule = training.schedule.as_deref();
    let schedule = schedule.map(|cron| Schedule::parse(cron, training.time_zone.as_deref())).transpose();
    let schedule = schedule.map_err(InvalidSpec::Schedule)?;
    if let Some(fields) = training.resources.clone() {
        serde_json::from_value::<ResourceRequirements>(fields.into()).map_err(InvalidSpec::Resources)?;
    }
    model_name(name, spec)?;
    Ok(ValidModel {
        spec_hash: keys::spec_hash(spec).map_err(InvalidSpec::Hash)?,
        training: uri("training.dataset.uri", &training.dataset.uri)?,
        gate: uri("gate.dataset.uri", &spec.gate.dataset.uri)?,
        backbone: uri("backbone.uri", &spec.backbone.uri)?,
        artifacts: uri("artifacts.uri", &spec.artifacts.uri)?,
        schedule,
        spec: spec.clone(),
    })
}

/// Checks what requests ask for, without the prefix.
fn model_name(name: &str, spec: &InCTRLModelSpec) -> Result<(), InvalidSpec> {
    let name = spec.serving.model_name.as_deref().unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) {
        return Err(InvalidSpec::ModelName { name: name.to_owned() });
    }
    Ok(())
}

impl ValidModel {
    /// The training data set as the spec describes it.
    pub fn dataset(&self) -> &Dataset {
        &self.spec.training.dataset
    }

    /// Folder of a run's artifact.
    pub fn artifact(&self, uid: &str, key: &str) -> Result<Uri, UriError> {
        self.artifacts.join(uid)?.join(key)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(change: impl FnOnce(&mut serde_json::Value)) -> InCTRLModelSpec {
        let mut spec = json!({
            "backbone": { "uri": "s3://b/clip", "sha256": "a".repeat(64) },
            "training": { "dataset": { "uri": "s3://b/d" } },
            "gate": { "dataset": { "uri": "s3://b/g" }, "metrics": [] },
            "serving": { "selector": { "matchLabels": { "a": "b" } } },
            "artifacts": { "uri": "s3://b/a" },
        });
        change(&mut spec);
        serde_json::from_value(spec).unwrap()
    }

    fn refusal(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let error = validate("visa", &spec(change), Allowed::default()).unwrap_err();
        inctrl_telemetry::Chain(&error).to_string()
    }

    #[test]
    fn what_the_schema_cannot_check_is_checked_here_and_says_where() {
        let said = refusal(|spec| spec["training"]["schedule"] = json!("every monday"));
        assert!(said.contains("spec.training.schedule") && said.contains("every monday"), "{said}");
        let said = refusal(|spec| {
            spec["training"]["schedule"] = json!("0 3 * * 0");
            spec["training"]["timeZone"] = json!("Mars/Olympus");
        });
        assert!(said.contains("Mars/Olympus"), "{said}");
        let said = refusal(|spec| spec["training"]["resources"] = json!({ "limits": ["cpu"] }));
        assert!(said.contains("spec.training.resources"), "{said}");
        let said = refusal(|spec| spec["gate"]["dataset"]["uri"] = json!("s3://b/../x"));
        assert!(said.contains("spec.gate.dataset.uri") && said.contains(".."), "{said}");
    }

    #[test]
    fn paths_of_the_node_are_refused_unless_allowed() {
        let local = || spec(|spec| spec["backbone"]["uri"] = json!("file:///etc"));
        let error = validate("visa", &local(), Allowed::default()).unwrap_err().to_string();
        assert!(error.contains("spec.backbone.uri") && error.contains("--allow-file-uris"), "{error}");
        assert!(validate("visa", &local(), Allowed { file_uris: true }).is_ok());
    }

    #[test]
    fn a_name_with_dots_needs_another_for_requests() {
        let plain = spec(|_| {});
        let error = validate("visa.v2", &plain, Allowed::default()).unwrap_err().to_string();
        assert!(error.contains("spec.serving.modelName"), "{error}");
        let named = spec(|spec| spec["serving"]["modelName"] = json!("visa"));
        assert!(validate("visa.v2", &named, Allowed::default()).is_ok());
    }
}
