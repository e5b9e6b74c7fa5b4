//! A model as a user writes it, and what its status says.

use serde_json::{Value, json};

use crate::stage::Stage;

/// A model over the small data that trains in a second, from this seed and rolled out this way.
pub(crate) fn manifest(stage: &Stage, name: &str, seed: u64, rollout: &Value) -> Value {
    json!({
        "apiVersion": "inctrl.dev/v1alpha1",
        "kind": "InCTRLModel",
        "metadata": { "name": name },
        "spec": {
            "backbone": { "name": "small", "uri": "pvc://data/backbone", "sha256": stage.backbone },
            "training": {
                "dataset": { "uri": "pvc://data/auxiliary", "fingerprint": "Content" },
                "head": "Contextual",
                "hyperparameters": {
                    "epochs": 1, "batchSize": 4, "shots": 2, "seed": seed, "learningRate": "0.01",
                },
            },
            "gate": {
                "dataset": { "uri": "pvc://data/held-out" },
                "minSamples": 16,
                "metrics": [{ "name": "imageAUROC", "minBasisPoints": 1, "maxRegressionBasisPoints": 9999 }],
            },
            "rollout": rollout,
            "serving": { "selector": { "matchLabels": { "app.kubernetes.io/name": "inctrl-server" } } },
            "artifacts": { "uri": "pvc://data/heads" },
            "deletionPolicy": "Delete",
        },
    })
}

/// How a second head is tried.
pub(crate) fn canary() -> Value {
    json!({
        "steps": [{ "weight": 50, "pauseSeconds": 1 }, { "weight": 100, "pauseSeconds": 0 }],
        "analysis": { "intervalSeconds": 5, "minRequests": 4 },
    })
}

/// The active revision, nought where there is none.
pub(crate) fn active(model: &Value) -> i64 {
    model["active"]["revision"].as_i64().unwrap_or_default()
}

/// Whether a condition has this status and reason.
pub(crate) fn is(model: &Value, kind: &str, status: &str, reason: &str) -> bool {
    let mut conditions = model["conditions"].as_array().into_iter().flatten();
    conditions.any(|it| it["type"] == kind && it["status"] == status && it["reason"] == reason)
}

/// Whether the third head was taken back, and all is quiet.
pub(crate) fn is_over(model: &Value) -> bool {
    model["history"][0]["phase"] == "RolledBack"
        && model["canary"].is_null()
        && model["servers"]["total"] == 2
        && model["servers"]["active"] == 2
        && model["servers"]["candidate"].as_i64().unwrap_or_default() == 0
        && is(model, "Ready", "True", "Serving")
        && is(model, "Progressing", "False", "Idle")
}
