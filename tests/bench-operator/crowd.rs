//! Ten thousand models: most with roll-outs behind them, some suspended, some whose training pod no node can take.

use futures::{StreamExt as _, stream};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::stage::Stage;
use crate::wait::say;

/// Requests to the API server at a time.
const AT_ONCE: usize = 32;

/// Of a hundred models, so many wait for a node and so many are suspended.
const WAITING: usize = 1;
const SUSPENDED: usize = 2;

/// Rows of history of a model that has been through roll-outs.
const ROWS: u64 = 5;

/// Whoever wrote the status before: the operator.
const OPERATOR: &str = "inctrl-operator";

const TIME: &str = "2026-01-01T00:00:00Z";

/// Makes the models of these numbers. No operator may run: it would train what has no status yet.
pub(crate) async fn create(stage: &Stage, numbers: std::ops::Range<usize>) {
    say(&format!("creating models {} to {}", numbers.start, numbers.end));
    let models = stage.models();
    let made = stream::iter(numbers).map(|number| {
        let models = models.clone();
        async move {
            let name = format!("m{number:05}");
            let kind = number % 100;
            let model = serde_json::from_value(model(&name, kind)).unwrap();
            let model = models.create(&PostParams::default(), &model).await.unwrap();
            if kind >= WAITING + SUSPENDED {
                let status = json!({
                    "apiVersion": "inctrl.dev/v1alpha1",
                    "kind": "InCTRLModel",
                    "metadata": { "name": name },
                    "status": status(&name, &model.metadata.uid.unwrap()),
                });
                let apply = PatchParams::apply(OPERATOR).force();
                models.patch_status(&name, &apply, &Patch::Apply(status)).await.unwrap();
            }
        }
    });
    made.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

fn model(name: &str, kind: usize) -> Value {
    let mut spec = json!({
        "backbone": { "name": "small", "uri": "pvc://data/backbone", "sha256": "a".repeat(64) },
        "training": {
            "dataset": { "uri": format!("pvc://data/of-{name}") },
            "head": "Contextual",
            "hyperparameters": { "epochs": 2, "batchSize": 4, "shots": 2, "seed": 7, "learningRate": "0.01" },
        },
        "gate": {
            "dataset": { "uri": "pvc://data/held-out" },
            "minSamples": 16,
            "metrics": [
                { "name": "imageAUROC", "minBasisPoints": 8500, "maxRegressionBasisPoints": 100 },
                { "name": "latencyP99Millis", "maxValue": 2000 },
            ],
        },
        "rollout": {
            "steps": [
                { "weight": 10, "pauseSeconds": 60 }, { "weight": 50, "pauseSeconds": 60 },
                { "weight": 100, "pauseSeconds": 60 },
            ],
        },
        "serving": { "selector": { "matchLabels": { "app.kubernetes.io/name": "elsewhere" } } },
        "artifacts": { "uri": "pvc://data/heads" },
    });
    if kind < WAITING {
        spec["training"]["dataset"]["uri"] = json!("pvc://data/auxiliary");
        spec["training"]["resources"] = json!({ "requests": { "cpu": "1000" } });
    } else if kind < WAITING + SUSPENDED {
        spec["suspend"] = json!(true);
    } else {
        spec["training"]["retrainOn"] = json!(["Schedule"]);
        spec["training"]["schedule"] = json!("0 3 1 1 *");
    }
    json!({ "apiVersion": "inctrl.dev/v1alpha1", "kind": "InCTRLModel", "metadata": { "name": name }, "spec": spec })
}

/// What an operator left that has trained and promoted this model some times; it has no phase, which says who looked at it since.
fn status(name: &str, uid: &str) -> Value {
    let rows: Vec<_> = (1..=ROWS).rev().map(|number| row(name, uid, number)).collect();
    let mut active = rows[0].clone();
    active["phase"] = json!("Active");
    let fingerprint = format!("sha256:{:064x}", 3);
    json!({
        "active": active,
        "history": rows,
        "dataset": { "fingerprint": fingerprint, "objects": 20, "bytes": 200_000, "checkedAt": TIME },
        "run": {
            "jobName": format!("{name}-train-aaaaaaaaaa"), "key": "aaaaaaaaaa", "trigger": "SpecChange",
            "specHash": "b".repeat(64), "datasetFingerprint": fingerprint, "outcome": "Succeeded",
            "startedAt": TIME, "finishedAt": TIME,
        },
    })
}

fn row(name: &str, uid: &str, number: u64) -> Value {
    let phase = if number == ROWS { "Active" } else { "Superseded" };
    json!({
        "revision": number,
        "digest": format!("sha256:{number:064x}"),
        "uri": format!("pvc://data/heads/{uid}/aaaaaaaaa{number}"),
        "specHash": format!("{number:064x}"),
        "datasetFingerprint": format!("sha256:{:064x}", number + 1),
        "backboneDigest": format!("sha256:{:064x}", 2),
        "gateFingerprint": format!("sha256:{:064x}", 4),
        "gateSamples": 200,
        "jobName": format!("{name}-train-aaaaaaaaa{number}"),
        "metrics": [
            { "name": "f1Max", "basisPoints": 8700 }, { "name": "imageAUPRC", "basisPoints": 9000 },
            { "name": "imageAUROC", "basisPoints": 9100 }, { "name": "latencyP99Millis", "value": 40 },
        ],
        "trainedAt": TIME, "promotedAt": TIME, "phase": phase,
    })
}
