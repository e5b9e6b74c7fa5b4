//! The whole of it, every program the real one: a model is applied, and a head is trained, gated, rolled out with the chart's
//! certificates, and answers; the model is deleted, and nothing of it is left.

use std::path::Path;
use std::process::Command;

use inctrl_tests::control_plane::create_namespace;
use inctrl_tests::wait::eventually;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use serde_json::{Value, json};

use crate::model::{claim, condition, models};
use crate::stage::{CHART, client, helm_on_plane, program_of, success, with_plane};

const NAMESPACE: &str = "served";

/// Categories of the benchmark that the head is judged on: few, for a test.
const HELD_OUT: [&str; 3] = ["felt-0", "marble-0", "tiles-0"];

/// A backbone, and data to train on and to judge by, as they lie on a volume.
fn fill(folder: &Path) {
    let backbone = inctrl_tests::backbone::find().unwrap();
    success(Command::new("cp").arg("-r").arg(backbone).arg(folder.join("backbone")));
    let drawn = folder.join("drawn");
    let size = ["--size=240", "--instances=2", "--images=4", "--held-out-images=3"];
    success(program_of("inctrl-trainer").args(["synth", "--out"]).arg(&drawn).args(size));
    std::fs::rename(drawn.join("auxiliary"), folder.join("auxiliary")).unwrap();
    std::fs::create_dir(folder.join("held-out")).unwrap();
    for category in HELD_OUT {
        let from = drawn.join("held-out").join(category);
        std::fs::rename(from, folder.join("held-out").join(category)).unwrap();
    }
    std::fs::create_dir(folder.join("heads")).unwrap();
}

/// The content digest of a folder, as `docs/training-job.md` has people make it.
fn content_digest(folder: &Path) -> String {
    let script = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum";
    let said = success(Command::new("sh").args(["-c", script]).current_dir(folder));
    said.split(' ').next().unwrap().to_owned()
}

fn model(folder: &Path) -> Value {
    let metrics = json!([{ "name": "imageAUROC", "minBasisPoints": 1 }, { "name": "latencyP99Millis", "maxValue": 60_000 }]);
    json!({
        "apiVersion": "inctrl.dev/v1alpha1",
        "kind": "InCTRLModel",
        "metadata": { "name": "default" },
        "spec": {
            "backbone": { "uri": "pvc://data/backbone", "sha256": content_digest(&folder.join("backbone")) },
            "training": {
                "dataset": { "uri": "pvc://data/auxiliary" },
                "head": "Contextual",
                "hyperparameters": { "epochs": 1, "batchSize": 8, "shots": 2, "learningRate": "0.01" },
            },
            "gate": { "dataset": { "uri": "pvc://data/held-out" }, "metrics": metrics, "minSamples": 4 },
            "serving": { "selector": { "matchLabels": {
                "app.kubernetes.io/name": "inctrl-server", "app.kubernetes.io/instance": "r",
            }}},
            "artifacts": { "uri": "pvc://data/heads" },
            "deletionPolicy": "Delete",
        },
    })
}

/// Waits until a condition is as it should be. One that says that all is lost ends the wait.
async fn reach(models: &Api<DynamicObject>, kind: &str, wanted: (&str, &str)) -> DynamicObject {
    let what = format!("{kind} {wanted:?}");
    let met = async || {
        let model = models.get("default").await.unwrap();
        let degraded = condition(&model, "Degraded");
        assert!(degraded.is_none_or(|it| it.0 != "True"), "{what}: {:#}", model.data["status"]);
        let found = condition(&model, kind)?;
        ((found.0.as_str(), found.1.as_str()) == wanted).then_some(model)
    };
    eventually(&what, met).await
}

pub(crate) async fn an_applied_model_is_trained_gated_served_and_taken_back() {
    let client = client().await;
    create_namespace(&client, NAMESPACE, &[("pod-security.kubernetes.io/enforce", "restricted")]).await;
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    claim(&client, NAMESPACE, "data", folder.path()).await;

    // Pods of this machine: each listens on an address of its own.
    let listen = json!({ "host": "$(POD_IP)" });
    let values = json!({
        "crds": { "enabled": false },
        "operator": {
            "replicas": 1,
            "listen": listen,
            "claims": [{ "name": "data", "readOnly": false }],
            "watchNamespace": NAMESPACE,
        },
        "server": {
            "listen": listen,
            "claims": [{ "name": "data" }],
            "backbone": "/mnt/inctrl/pvc/data/backbone",
            "config": { "device": "cpu", "precision": "fp32", "threads": 1 },
        },
    });
    let file = folder.path().join("values.json");
    std::fs::write(&file, values.to_string()).unwrap();
    let mut install = helm_on_plane().await;
    success(install.args(["install", "r", CHART, "--namespace", NAMESPACE, "--values"]).arg(file));

    let models = models(&client, NAMESPACE);
    let applied: DynamicObject = serde_json::from_value(model(folder.path())).unwrap();
    models.create(&PostParams::default(), &applied).await.unwrap();
    reach(&models, "DatasetResolved", ("True", "FingerprintKnown")).await;
    reach(&models, "Trained", ("True", "JobComplete")).await;
    reach(&models, "GatePassed", ("True", "AllBoundsMet")).await;
    let served = reach(&models, "Ready", ("True", "Serving")).await;
    let digest = served.data["status"]["active"]["digest"].as_str().unwrap().to_owned();

    // What the server says of itself, and with what it answers.
    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    let of_servers = ListParams::default().labels("app.kubernetes.io/name=inctrl-server");
    let [server] = &pods.list(&of_servers).await.unwrap().items[..] else { panic!("one server is wanted") };
    let address = server.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap();
    let inctrl = |arguments: &[&str]| {
        let mut command = program_of("inctrl");
        command.args(["--server", &format!("http://{address}:50051")]).args(arguments);
        command
    };
    let known: Value = serde_json::from_str(&success(&mut inctrl(&["info", "--format", "json"]))).unwrap();
    assert!(known.to_string().contains(&digest), "{digest} must be what {known:#} has");
    let category = folder.path().join("held-out/tiles-0");
    let (normals, queries) = (category.join("train/good"), category.join("test"));
    let score = [
        "score",
        queries.to_str().unwrap(),
        "--format",
        "json",
        "--class",
        "tile",
        "--normals",
        normals.to_str().unwrap(),
    ];
    let scored = success(&mut inctrl(&score));
    assert!(scored.lines().count() >= 4, "every image must have a score:\n{scored}");
    assert!(
        scored.lines().all(|row| row.contains(&digest)),
        "{digest} must have given each score:\n{scored}"
    );

    models.delete("default", &DeleteParams::default()).await.unwrap();
    let gone = async || models.get_opt("default").await.unwrap().is_none().then_some(());
    eventually("the end of the model", gone).await;
    let left: Value = serde_json::from_str(&success(&mut inctrl(&["info", "--format", "json"]))).unwrap();
    assert!(!left.to_string().contains(&digest), "the server must have dropped {digest}: {left:#}");
    let manifests =
        success(Command::new("find").arg(folder.path().join("heads")).args(["-name", "manifest.json"]));
    assert_eq!(manifests, "", "artifacts must be deleted");
    with_plane(|plane, _| {
        success(plane.kubectl().args(["delete", "namespace", NAMESPACE, "--wait=false"]));
    })
    .await;
}
