//! A namespace in which lives are played one after another: the chart's account and roles, two scoring servers, and an operator
//! behind an interposer. Several can be used at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use inctrl_tests::control_plane::create_namespace;
use inctrl_tests::interposer::{Interposer, serve_api, serve_rollouts};
use inctrl_tests::wait::eventually;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::operator::{Operator, Recipe};
use crate::stage::{Stage, plane};

/// The port on which servers take rollouts.
const ROLLOUT_PORT: u16 = 8443;

/// Timers of the operator, short for a test: who is started anew waits for the former's Lease to lapse.
const TIMERS: [&str; 4] =
    ["--lease-duration=2s", "--lease-deadline=1500ms", "--lease-retry=250ms", "--api-timeout=4s"];

/// Arguments of the chart that are about paths and addresses in a pod.
const OF_A_POD: [&str; 4] = ["--admin-listen=", "--pvc-root=", "--server-tls-", "--log-format="];

/// Lanes made until now.
static LANES: AtomicU32 = AtomicU32::new(0);

/// Where lives are played.
pub(crate) struct Lane {
    pub(crate) stage: &'static Stage,
    pub(crate) namespace: String,
    /// Between the operator and the rest.
    pub(crate) interposer: Arc<Interposer>,
    /// How further operators are started.
    pub(crate) recipe: Recipe,
    /// Kubeconfig of the chart's account.
    pub(crate) account: PathBuf,
    /// Addresses of the scoring servers.
    pub(crate) servers: Vec<String>,
    operator: Option<Operator>,
    lives: u32,
    _tasks: JoinSet<()>,
}

impl Lane {
    /// A lane with its operator.
    pub(crate) async fn open(stage: &'static Stage) -> Self {
        let mut lane = Self::open_without_operator(stage).await;
        lane.operator = Some(Operator::start(lane.recipe.clone(), Arc::clone(&lane.interposer)));
        lane
    }

    /// A lane whose operators are the trial's own.
    pub(crate) async fn open_without_operator(stage: &'static Stage) -> Self {
        let namespace = format!("lane-{}", LANES.fetch_add(1, Ordering::Relaxed));
        create_namespace(&stage.client, &namespace, &[]).await;
        let values = json!({
            "crds": { "enabled": false },
            "operator": { "replicas": 0, "watchNamespace": namespace, "extraArgs": TIMERS },
            "server": { "enabled": false },
        });
        let file = stage.claims.with_file_name(format!("{namespace}.json"));
        std::fs::write(&file, values.to_string()).unwrap();
        stage.install(&namespace, &file);
        claim(stage, &namespace).await;

        let mut tasks = JoinSet::new();
        let interposer = Arc::<Interposer>::default();
        let port = serve_rollouts(Arc::clone(&interposer), ROLLOUT_PORT, &mut tasks).await.unwrap();
        let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &namespace);
        for number in 0..2 {
            create(&pods, server(&format!("server-{number}"), port)).await;
        }
        let servers = eventually("addresses of two servers", async || {
            let found = pods.list(&kube::api::ListParams::default()).await.ok()?.items;
            let addresses: Option<Vec<String>> = found.into_iter().map(|pod| pod.status?.pod_ip).collect();
            addresses.filter(|addresses| addresses.len() == 2)
        })
        .await;
        let account = account(&namespace).await;
        let kubeconfig = serve_api(Arc::clone(&interposer), &account, &namespace, &mut tasks).await.unwrap();
        let recipe = Recipe {
            arguments: arguments(stage, &namespace).await,
            identity: format!("{namespace}-operator"),
            claims: stage.claims.clone(),
            kubeconfig,
            log: stage.claims.with_file_name(format!("{namespace}-operator.log")),
            namespace: namespace.clone(),
        };
        Self {
            stage,
            namespace,
            interposer,
            recipe,
            account,
            servers,
            operator: None,
            lives: 0,
            _tasks: tasks,
        }
    }

    /// How often the operator was killed.
    pub(crate) fn killed(&self) -> usize {
        self.operator.as_ref().map_or(0, Operator::killed)
    }

    /// The end of the operator's log.
    pub(crate) fn log(&self) -> String {
        self.operator.as_ref().map(Operator::log).unwrap_or_default()
    }

    /// A name that no model of this lane had.
    pub(crate) fn next_name(&mut self) -> String {
        self.lives += 1;
        format!("model-{}", self.lives)
    }

    /// The models of this lane.
    pub(crate) fn models(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("inctrl.dev", "v1alpha1", "InCTRLModel");
        let kind = ApiResource::from_gvk_with_plural(&kind, "inctrlmodels");
        Api::namespaced_with(self.stage.client.clone(), &self.namespace, &kind)
    }
}

/// A kubeconfig of the chart's account.
async fn account(namespace: &str) -> PathBuf {
    plane().await.kubeconfig_of(namespace, "r-inctrl-operator").await.unwrap()
}

/// The arguments that the chart gives the operator, without those of a pod.
async fn arguments(stage: &Stage, namespace: &str) -> Vec<String> {
    let deployments: Api<Deployment> = Api::namespaced(stage.client.clone(), namespace);
    let deployment = deployments.get("r-inctrl-operator").await.unwrap();
    let pod = deployment.spec.template.spec.unwrap();
    let arguments = pod.containers.into_iter().next().unwrap().args.unwrap();
    let of_a_pod = |argument: &String| OF_A_POD.iter().any(|start| argument.starts_with(start));
    arguments.into_iter().filter(|argument| !of_a_pod(argument)).collect()
}

/// A scoring server, whose rollout port is the interposer's.
fn server(name: &str, rollout_port: u16) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "app.kubernetes.io/name": "inctrl-server" } },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "server",
                "image": format!("inctrl-server:{}", env!("CARGO_PKG_VERSION")),
                "command": ["inctrl-server"],
                "args": [
                    "serve", "--backbone=/mnt/inctrl/pvc/data/backbone", "--state-dir=/var/lib/inctrl",
                    "--listen=$(POD_IP):50051", "--admin-listen=$(POD_IP):9464",
                    format!("--rollout-listen=$(POD_IP):{ROLLOUT_PORT}"), "--rollout-plaintext",
                    "--rollout-pvc-root=/mnt/inctrl/pvc", "--device=cpu", "--precision=fp32", "--threads=1",
                ],
                "env": [{ "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }],
                "ports": [{ "name": "admin-grpc", "containerPort": rollout_port }],
                "volumeMounts": [
                    { "name": "data", "mountPath": "/mnt/inctrl/pvc/data" },
                    { "name": "state", "mountPath": "/var/lib/inctrl" },
                ],
            }],
            "volumes": [
                { "name": "data", "persistentVolumeClaim": { "claimName": "data" } },
                { "name": "state", "emptyDir": {} },
            ],
        },
    })
}

/// The claim `data` on the folder that all lanes share.
async fn claim(stage: &Stage, namespace: &str) {
    let volume = format!("{namespace}-data");
    let form = json!({
        "capacity": { "storage": "1Gi" },
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
        "hostPath": { "path": stage.claims.join("data") },
        "claimRef": { "namespace": namespace, "name": "data" },
    });
    let volumes: Api<PersistentVolume> = Api::all(stage.client.clone());
    create(&volumes, json!({ "metadata": { "name": volume }, "spec": form })).await;
    let form = json!({
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
        "volumeName": volume,
        "resources": { "requests": { "storage": "1Gi" } },
    });
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(stage.client.clone(), namespace);
    create(&claims, json!({ "metadata": { "name": "data" }, "spec": form })).await;
}

async fn create<K>(api: &Api<K>, object: Value)
where
    K: Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}
