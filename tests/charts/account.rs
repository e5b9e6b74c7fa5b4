//! The operator as the chart runs it: its pods, its account, its roles. What it may do must be enough, and nothing else is
//! ever asked for.

use std::collections::BTreeSet;

use inctrl_tests::control_plane::create_namespace;
use inctrl_tests::wait::eventually;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::model::{claim, condition, models};
use crate::stage::{CHART, client, helm_on_plane, success, with_plane};

/// What an operator asks of the API server in the life of a model whose training pod cannot start: documented in
/// `docs/operator.md`, granted by `templates/operator/rbac.yaml`.
const ASKED: [(&str, &str); 15] = [
    ("create", "events.events.k8s.io"),
    ("create", "leases.coordination.k8s.io"),
    ("delete", "jobs.batch"),
    ("get", "leases.coordination.k8s.io"),
    ("get", "secrets"),
    ("list", "inctrlmodels.inctrl.dev"),
    ("list", "jobs.batch"),
    ("list", "pods"),
    ("patch", "inctrlmodels.inctrl.dev"),
    ("patch", "inctrlmodels.inctrl.dev/status"),
    ("patch", "jobs.batch"),
    ("update", "leases.coordination.k8s.io"),
    ("watch", "inctrlmodels.inctrl.dev"),
    ("watch", "jobs.batch"),
    ("watch", "pods"),
];

/// What is asked for only where the operator happens to look at the right moment: a Job that has no pod yet, one that the cache
/// has not heard of, an event told again.
const ASKED_AT_TIMES: [(&str, &str); 3] =
    [("get", "jobs.batch"), ("list", "events"), ("patch", "events.events.k8s.io")];

fn model() -> Value {
    let data = json!({ "uri": "pvc://data/auxiliary", "secretRef": { "name": "store" } });
    json!({
        "apiVersion": "inctrl.dev/v1alpha1",
        "kind": "InCTRLModel",
        "metadata": { "name": "visa" },
        "spec": {
            "backbone": { "uri": "pvc://data/backbone", "sha256": "a".repeat(64) },
            "training": { "dataset": data, "image": "nobody-has-this:1" },
            "gate": { "dataset": data, "metrics": [{ "name": "imageAUROC", "minBasisPoints": 8000 }] },
            "serving": { "selector": { "matchLabels": { "app.kubernetes.io/name": "inctrl-server" } } },
            "artifacts": { "uri": "pvc://data/heads" },
        },
    })
}

/// Installs the chart with these values besides, and lives through a model from its application to its end.
async fn live(namespace: &str, values: &Value) {
    let client = client().await;
    create_namespace(&client, namespace, &[("pod-security.kubernetes.io/enforce", "restricted")]).await;
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("auxiliary");
    std::fs::create_dir(&images).unwrap();
    for name in ["normal.png", "anomalous.png"] {
        std::fs::write(images.join(name), name).unwrap();
    }
    claim(&client, namespace, "data", folder.path()).await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let store = json!({ "metadata": { "name": "store" }, "stringData": { "AWS_REGION": "here" } });
    secrets.create(&PostParams::default(), &serde_json::from_value(store).unwrap()).await.unwrap();

    let file = folder.path().join("values.json");
    std::fs::write(&file, values.to_string()).unwrap();
    let mut install = helm_on_plane().await;
    install.args(["install", "r", CHART, "--namespace", namespace, "--wait", "--timeout", "2m", "--values"]);
    success(install.arg(file));

    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let leader = async || leases.get_opt("r-inctrl-operator").await.unwrap()?.spec?.holder_identity;
    let leader = eventually("a leader", leader).await;
    assert!(leader.starts_with("r-inctrl-operator-"), "{leader} must be named after its pod");

    let models = models(&client, namespace);
    let applied: DynamicObject = serde_json::from_value(model()).unwrap();
    models.create(&PostParams::default(), &applied).await.unwrap();
    let expected = [
        ("DatasetResolved", "True", "FingerprintKnown"),
        ("Trained", "False", "ImagePullFailed"),
        ("Ready", "False", "NoHeadYet"),
    ];
    let conditions = async || {
        let model = models.get("visa").await.unwrap();
        let of = |(kind, status, reason): &(&str, &str, &str)| {
            condition(&model, kind)
                .is_some_and(|found| (found.0.as_str(), found.1.as_str()) == (*status, *reason))
        };
        expected.iter().all(of).then_some(())
    };
    eventually("a model whose training pod cannot start, and says why", conditions).await;
    let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
    let of_model = ListParams::default().labels("inctrl.dev/model=visa");
    let made = jobs.list(&of_model).await.unwrap().items;
    let [job] = made.as_slice() else { panic!("one run is one Job, not {}", made.len()) };
    assert!(job.name_any().starts_with("visa-train-"), "{}", job.name_any());

    models.delete("visa", &DeleteParams::default()).await.unwrap();
    let gone = async || models.get_opt("visa").await.unwrap().is_none().then_some(());
    eventually("the end of the model", gone).await;
    let none = async || jobs.list(&of_model).await.unwrap().items.is_empty().then_some(());
    eventually("the end of its Job", none).await;

    // Watches are told of once they are over, which they are when the operators are.
    let mut stop = helm_on_plane().await;
    stop.args([
        "upgrade",
        "r",
        CHART,
        "--namespace",
        namespace,
        "--reuse-values",
        "--set",
        "operator.replicas=0",
    ]);
    success(&mut stop);
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let none = async || pods.list(&ListParams::default()).await.unwrap().items.is_empty().then_some(());
    eventually("the end of the operators", none).await;
    let holder = leases.get("r-inctrl-operator").await.unwrap().spec.and_then(|spec| spec.holder_identity);
    assert_eq!(holder.unwrap_or_default(), "", "the last one must give its Lease back");
    asked_for_nothing_else(namespace).await;
    success(helm_on_plane().await.args(["uninstall", "r", "--namespace", namespace, "--wait"]));
}

async fn asked_for_nothing_else(namespace: &str) {
    let user = format!("system:serviceaccount:{namespace}:r-inctrl-operator");
    let calls = with_plane(|plane, _| plane.calls_of(&user)).await.unwrap();
    let forbidden: Vec<_> = calls.iter().filter(|call| matches!(call.code, 401 | 403)).collect();
    assert!(forbidden.is_empty(), "the roles of the chart do not allow {forbidden:#?}");
    let asked: BTreeSet<_> = calls.iter().map(|call| (call.verb.as_str(), call.resource.as_str())).collect();
    let certain = BTreeSet::from(ASKED);
    let surplus: Vec<_> = asked.difference(&certain).filter(|it| !ASKED_AT_TIMES.contains(it)).collect();
    assert!(surplus.is_empty(), "{surplus:?} are asked for and documented nowhere");
    let unasked: Vec<_> = certain.difference(&asked).collect();
    assert!(unasked.is_empty(), "{unasked:?} are granted and not asked for");
}

/// Values with which pods of this machine can be operators: each listens on an address of its own.
fn values(operator: &Value) -> Value {
    let mut values = json!({
        "crds": { "enabled": false },
        "server": { "enabled": false },
        "operator": { "listen": { "host": "$(POD_IP)" }, "claims": [{ "name": "data" }] },
    });
    values["operator"].as_object_mut().unwrap().extend(operator.as_object().unwrap().clone());
    values
}

/// Regression 10.
pub(crate) async fn the_operator_works_with_the_charts_account() {
    live("everywhere", &values(&json!({}))).await;
}

pub(crate) async fn the_operator_works_with_a_role_in_one_namespace() {
    let operator = json!({ "watchNamespace": "one-namespace", "secretNames": ["store"], "replicas": 1 });
    live("one-namespace", &values(&operator)).await;
}
