//! What users get wrong: each is a condition with a reason within five seconds, costs no hot loop, and what is right beside it
//! goes on.

use std::path::Path;
use std::time::Duration;

use inctrl_tests::control_plane::create_namespace;
use inctrl_tests::wait::eventually;
use k8s_openapi::api::core::v1::{ResourceQuota, Secret};
use kube::api::{DeleteParams, DynamicObject, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::model::{claim, condition, models};
use crate::stage::{CHART, client, helm_on_plane, success, with_plane};

const NAMESPACE: &str = "bad-input";

/// How soon a user is to be told.
const SOON: Duration = Duration::from_secs(5);

/// Calls that an object which cannot go on may cost in a second, over the time that it is looked at.
const CALLS_A_SECOND: f64 = 5.0;

/// A model whose training pod waits for an image that nobody has.
fn model(name: &str, change: impl FnOnce(&mut Value)) -> DynamicObject {
    let mut model = json!({
        "apiVersion": "inctrl.dev/v1alpha1",
        "kind": "InCTRLModel",
        "metadata": { "name": name },
        "spec": {
            "backbone": { "uri": "pvc://data/backbone", "sha256": "a".repeat(64) },
            "training": { "dataset": { "uri": "pvc://data/auxiliary" }, "image": "nobody-has-this:1" },
            "gate": {
                "dataset": { "uri": "pvc://data/auxiliary" },
                "metrics": [{ "name": "imageAUROC", "minBasisPoints": 8000 }],
            },
            "serving": { "selector": { "matchLabels": { "app": "none" } } },
            "artifacts": { "uri": "pvc://data/heads" },
        },
    });
    change(&mut model["spec"]);
    serde_json::from_value(model).unwrap()
}

/// Applies a model and waits for what it is told; panics when that takes too long. The model is deleted again.
async fn told(client: &Client, model: DynamicObject, kind: &str, status: &str, reason: &str) {
    let models = models(client, NAMESPACE);
    let name = model.metadata.name.clone().unwrap();
    let (start, before) = (Instant::now(), writes().await);
    models.create(&PostParams::default(), &model).await.unwrap();
    let met = async || {
        let seen = condition(&models.get(&name).await.unwrap(), kind)?;
        ((seen.0.as_str(), seen.1.as_str()) == (status, reason)).then_some(())
    };
    eventually(&format!("{name}: {kind} {status} {reason}"), met).await;
    let took = start.elapsed();
    assert!(took <= SOON, "{name}: {reason} took {took:?}");
    let calls = writes().await - before;
    let most = 12.0 + took.as_secs_f64() * CALLS_A_SECOND;
    assert!((calls as f64) < most, "{name}: {calls} calls in {took:?}");
    models.delete(&name, &DeleteParams::default()).await.unwrap();
    eventually("the end of the model", async || models.get_opt(&name).await.unwrap().is_none().then_some(()))
        .await;
}

/// How much the operator has written until now, its Lease aside.
async fn writes() -> usize {
    let user = format!("system:serviceaccount:{NAMESPACE}:r-inctrl-operator");
    let calls = with_plane(|plane, _| plane.calls_of(&user)).await.unwrap();
    let is_write = |verb: &str| matches!(verb, "create" | "update" | "patch" | "delete");
    calls.iter().filter(|call| is_write(&call.verb) && !call.resource.starts_with("leases")).count()
}

async fn helm(arguments: &[&str]) {
    success(helm_on_plane().await.args(arguments).args([
        "--namespace",
        NAMESPACE,
        "--wait",
        "--timeout",
        "2m",
    ]));
}

/// A claim with a data set, an empty folder, and the chart's operator over it.
async fn set(client: &Client, folder: &Path) {
    create_namespace(client, NAMESPACE, &[]).await;
    for name in ["auxiliary", "empty", "heads"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("auxiliary/normal.png"), "normal").unwrap();
    claim(client, NAMESPACE, "data", folder).await;
    let values = json!({
        "crds": { "enabled": false },
        "server": { "enabled": false },
        "operator": {
            "listen": { "host": "$(POD_IP)" },
            "claims": [{ "name": "data" }],
            "replicas": 1,
            "watchNamespace": NAMESPACE,
        },
    });
    let file = folder.join("values.json");
    std::fs::write(&file, values.to_string()).unwrap();
    helm(&["install", "r", CHART, "--values", file.to_str().unwrap()]).await;
}

/// Regression 2.
pub(crate) async fn what_is_wrong_is_a_condition_within_five_seconds() {
    let client = client().await;
    let folder = tempfile::tempdir().unwrap();
    set(&client, folder.path()).await;

    let dataset = |name, change: fn(&mut Value)| model(name, |spec| change(&mut spec["training"]["dataset"]));
    let empty = dataset("empty", |dataset| dataset["uri"] = json!("pvc://data/empty"));
    told(&client, empty, "DatasetResolved", "False", "Empty").await;
    let secret = dataset("no-data-secret", |dataset| dataset["secretRef"] = json!({ "name": "absent" }));
    told(&client, secret, "DatasetResolved", "False", "SecretNotFound").await;
    let away = unreachable(&client).await;
    told(&client, away, "DatasetResolved", "False", "Unreachable").await;

    told(&client, model("no-image", |_| {}), "Trained", "False", "ImagePullFailed").await;
    // The node has this image, so that nothing but the Secret is missing.
    let secret = |spec: &mut Value| {
        spec["artifacts"]["secretRef"] = json!({ "name": "absent" });
        spec["training"]["image"] = json!(format!("inctrl-operator:{}", env!("CARGO_PKG_VERSION")));
    };
    told(&client, model("no-store-secret", secret), "Trained", "False", "SecretNotFound").await;
    let claim = |spec: &mut Value| spec["backbone"]["uri"] = json!("pvc://absent/backbone");
    told(&client, model("no-claim", claim), "Trained", "False", "VolumeClaimNotFound").await;

    let pin = |spec: &mut Value| spec["pinnedRevision"] = json!(99);
    told(&client, model("no-revision", pin), "Degraded", "True", "RevisionMissing").await;
    let schedule = |spec: &mut Value| {
        spec["training"]["retrainOn"] = json!(["Schedule"]);
        spec["training"]["schedule"] = json!("every monday");
    };
    told(&client, model("no-schedule", schedule), "Degraded", "True", "InvalidSpec").await;

    let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), NAMESPACE);
    let quota = json!({ "metadata": { "name": "none" }, "spec": { "hard": { "count/jobs.batch": "9", "pods": "1" } } });
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    let counted = async || quotas.get("none").await.unwrap().status?.hard.map(|_| ());
    eventually("a quota in force", counted).await;
    told(&client, model("no-room", |_| {}), "Trained", "False", "QuotaExceeded").await;
    quotas.delete("none", &DeleteParams::default()).await.unwrap();

    let quota = json!({ "metadata": { "name": "none" }, "spec": { "hard": { "count/jobs.batch": "0" } } });
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    eventually("a quota of Jobs in force", counted).await;
    told(&client, model("no-job", |_| {}), "Trained", "False", "QuotaExceeded").await;
    quotas.delete("none", &DeleteParams::default()).await.unwrap();

    helm(&["upgrade", "r", CHART, "--reuse-values", "--set", "trainer.serviceAccount=absent"]).await;
    told(&client, model("no-account", |_| {}), "Trained", "False", "ServiceAccountNotFound").await;
    helm(&["uninstall", "r"]).await;
}

/// A data set in a store that nobody serves.
async fn unreachable(client: &Client) -> DynamicObject {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let store = json!({ "metadata": { "name": "store" }, "stringData": {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "here",
        "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
    }});
    secrets.create(&PostParams::default(), &serde_json::from_value(store).unwrap()).await.unwrap();
    model("no-store", |spec| {
        spec["training"]["dataset"] = json!({ "uri": "s3://bucket/data", "secretRef": { "name": "store" } });
    })
}
