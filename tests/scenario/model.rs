//! An `InCTRLModel` as a user writes it, and what its status says.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use crate::stage::{Stage, eventually};

/// A model over the small data; trains in seconds.
pub(crate) fn manifest(stage: &Stage, name: &str) -> Value {
    json!({
        "apiVersion": "inctrl.dev/v1alpha1",
        "kind": "InCTRLModel",
        "metadata": { "name": name },
        "spec": {
            "backbone": { "name": "small", "uri": "pvc://data/backbone", "sha256": stage.backbone },
            "training": {
                "dataset": { "uri": "pvc://data/auxiliary" },
                "head": "Contextual",
                "hyperparameters": {
                    "epochs": 2, "batchSize": 4, "shots": 2, "seed": 7, "learningRate": "0.01",
                },
            },
            "gate": {
                "dataset": { "uri": "pvc://data/held-out" },
                "minSamples": 16,
                "metrics": [
                    { "name": "imageAUROC", "minBasisPoints": 5000, "maxRegressionBasisPoints": 5000 },
                    { "name": "latencyP99Millis", "maxValue": 60_000 },
                ],
            },
            "serving": { "selector": { "matchLabels": { "app.kubernetes.io/name": "inctrl-server" } } },
            "artifacts": { "uri": "pvc://data/heads" },
            "deletionPolicy": "Delete",
        },
    })
}

/// Waits until a model's status is as `is_so` wants it.
pub(crate) async fn until(stage: &Stage, name: &str, what: &str, is_so: impl Fn(&Model) -> bool) -> Model {
    eventually(stage, what, async || {
        let model = Model::get(stage, name).await?;
        is_so(&model).then_some(model)
    })
    .await
}

/// A model as the API server has it.
#[derive(Debug, Clone)]
pub(crate) struct Model(Value);

impl Model {
    /// As it is now, where it can be had.
    pub(crate) async fn get(stage: &Stage, name: &str) -> Option<Self> {
        let kind = GroupVersionKind::gvk("inctrl.dev", "v1alpha1", "InCTRLModel");
        let kind = ApiResource::from_gvk_with_plural(&kind, "inctrlmodels");
        let models: Api<DynamicObject> = Api::default_namespaced_with(stage.client.clone(), &kind);
        serde_json::to_value(models.get(name).await.ok()?).ok().map(Self)
    }

    pub(crate) fn status(&self, pointer: &str) -> &Value {
        self.0.pointer(&format!("/status{pointer}")).unwrap_or(&Value::Null)
    }

    pub(crate) fn uid(&self) -> &str {
        self.0["metadata"]["uid"].as_str().unwrap()
    }

    /// Whether a condition has this status and reason.
    pub(crate) fn is(&self, kind: &str, status: &str, reason: &str) -> bool {
        self.condition(kind).is_some_and(|it| it["status"] == status && it["reason"] == reason)
    }

    /// What a condition says for people.
    pub(crate) fn says(&self, kind: &str) -> &str {
        self.condition(kind).and_then(|condition| condition["message"].as_str()).unwrap_or_default()
    }

    fn condition(&self, kind: &str) -> Option<&Value> {
        self.status("/conditions").as_array()?.iter().find(|condition| condition["type"] == kind)
    }
}
