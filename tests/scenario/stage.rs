//! What the trials share: a control plane, a node with the three images, small data on a claim, and the chart's release.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use inctrl_tests::control_plane::node::{Image, Node};
use inctrl_tests::control_plane::{ControlPlane, Controllers};
use inctrl_tests::go_tools::{GoTools, Suite};
use inctrl_tests::programs::program;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio::time::interval;

use crate::data;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/inctrl");

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Longer than a run over small data takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static STAGE: OnceCell<Stage> = OnceCell::const_new();

/// Taken by [`strike`]: statics are not dropped.
static PLANE: Mutex<Option<(ControlPlane, Node)>> = Mutex::new(None);

/// What trials work with.
pub(crate) struct Stage {
    /// What lies on the claim `data`.
    pub(crate) folder: PathBuf,
    /// Content digest of the backbone on it.
    pub(crate) backbone: String,
    /// An administrator's client.
    pub(crate) client: Client,
}

/// Runs a trial.
pub(crate) fn block_on<T>(trial: impl Future<Output = T>) -> T {
    RUNTIME.block_on(trial)
}

/// Ends the control plane, where one was started.
pub(crate) fn strike() {
    let plane = PLANE.lock().unwrap_or_else(PoisonError::into_inner).take();
    block_on(async move { drop(plane) });
}

/// The stage; set for the first.
pub(crate) async fn stage() -> &'static Stage {
    STAGE.get_or_init(set).await
}

async fn set() -> Stage {
    let plane = ControlPlane::start(Controllers::On).await.expect("the control plane must start");
    let node = Node::join(&plane, "node-1", images()).await.unwrap();
    let folder = plane.folder().join("data");
    data::lay_out(&folder);
    let backbone = data::content_digest(&folder.join("backbone"));
    let helm = GoTools::build(Suite::Helm).unwrap().program("helm");
    let (home, kubeconfig) = (plane.folder().join("helm"), plane.kubeconfig().to_owned());
    let client = plane.client().await.unwrap();
    *PLANE.lock().unwrap_or_else(PoisonError::into_inner) = Some((plane, node));
    let stage = Stage { folder, backbone, client };
    // Whatever pod the release or a Job asks for must be one that a hardened cluster takes.
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    stage.kubectl(&["label", "namespace", "default", restricted]);
    stage.apply(&volume(&stage.folder));
    stage.apply(&claim());
    let values = stage.folder.join("values.json");
    std::fs::write(&values, release().to_string()).unwrap();
    let mut install = Command::new(helm);
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        install.env(variable, home.join(variable));
    }
    // Servers are ready once they have a head, so this does not wait for them.
    install.args(["install", "r", CHART, "--kubeconfig"]).arg(kubeconfig).arg("--values").arg(values);
    output(&mut install).unwrap_or_else(|said| panic!("{said}"));
    stage
}

/// The three images: programs of this workspace, and the environment in which they find what an image has at fixed paths.
fn images() -> Vec<(String, Image)> {
    let environment =
        [("INCTRL_PVC_ROOT", "/mnt/inctrl/pvc"), ("INCTRL_TERMINATION_LOG", "/dev/termination-log")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    ["inctrl-operator", "inctrl-server", "inctrl-trainer"]
        .map(|name| {
            let image = Image {
                files: vec![(format!("/usr/local/bin/{name}"), program(name, name).unwrap())],
                environment: environment.to_vec(),
                ..Image::default()
            };
            (format!("{name}:{}", env!("CARGO_PKG_VERSION")), image)
        })
        .into()
}

/// Values with which pods of this machine can listen, each on an address of its own.
fn release() -> Value {
    json!({
        "operator": {
            "replicas": 1,
            "listen": { "host": "$(POD_IP)" },
            "claims": [{ "name": "data", "readOnly": false }],
        },
        "server": {
            "replicas": 2,
            "listen": { "host": "$(POD_IP)" },
            "backbone": "/mnt/inctrl/pvc/data/backbone",
            "claims": [{ "name": "data" }],
        },
    })
}

fn volume(folder: &Path) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": "data" },
        "spec": {
            "capacity": { "storage": "1Gi" },
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "hostPath": { "path": folder },
            "claimRef": { "namespace": "default", "name": "data" },
        },
    })
}

fn claim() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": "data" },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": "data",
            "resources": { "requests": { "storage": "1Gi" } },
        },
    })
}

impl Stage {
    /// `kubectl apply`, as a user types it.
    pub(crate) fn apply(&self, object: &Value) {
        let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
        let file = self.folder.join(format!("{kind}-{name}.json").replace('"', ""));
        std::fs::write(&file, object.to_string()).unwrap();
        self.kubectl(&["apply", "--filename", file.to_str().unwrap()]);
    }

    /// What `kubectl` prints; it must succeed.
    #[expect(clippy::unused_self, reason = "there is a control plane where there is a stage")]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let plane = PLANE.lock().unwrap_or_else(PoisonError::into_inner);
        let (plane, _) = plane.as_ref().expect("a control plane is there until it is struck");
        output(plane.kubectl().args(arguments)).unwrap_or_else(|said| panic!("{said}"))
    }

    /// What `inctrl` prints, or what it said where it failed.
    #[expect(clippy::unused_self, reason = "there are servers where there is a stage")]
    pub(crate) fn inctrl(&self, arguments: &[&str]) -> Result<String, String> {
        output(Command::new(program("inctrl-cli", "inctrl").unwrap()).args(arguments))
    }

    /// Addresses of the two scoring servers, once they have them.
    pub(crate) async fn servers(&self) -> Vec<String> {
        let pods: Api<Pod> = Api::default_namespaced(self.client.clone());
        let servers = ListParams::default().labels("app.kubernetes.io/name=inctrl-server");
        eventually(self, "addresses of two servers", async || {
            let pods = pods.list(&servers).await.unwrap().items;
            let addresses: Option<Vec<_>> = pods.into_iter().map(|pod| pod.status?.pod_ip).collect();
            addresses.filter(|addresses| addresses.len() == 2)
        })
        .await
    }

    /// Everything that says why something did not come about.
    async fn evidence(&self) -> String {
        let pods: Api<Pod> = Api::default_namespaced(self.client.clone());
        let pods = pods.list(&ListParams::default()).await.unwrap().items;
        let mut evidence = self.kubectl(&["get", "pods,jobs"]);
        for kind in ["events", "icm"] {
            let plane = PLANE.lock().unwrap_or_else(PoisonError::into_inner);
            let (plane, _) = plane.as_ref().expect("a control plane is there until it is struck");
            // Before the release there is no such kind.
            let shown = output(plane.kubectl().args([
                "get",
                kind,
                "-o",
                if kind == "icm" { "yaml" } else { "wide" },
            ]));
            evidence += &shown.unwrap_or_default();
        }
        for pod in pods {
            let container = pod.spec.as_ref().map(|spec| spec.containers[0].name.clone()).unwrap_or_default();
            let plane = PLANE.lock().unwrap_or_else(PoisonError::into_inner);
            let (_, node) = plane.as_ref().expect("a node is there until it is struck");
            let _ = write!(evidence, "\n{}:\n{}", pod.name_any(), node.log(&pod, &container));
        }
        evidence
    }
}

/// What a program printed, or all that it said where it failed.
fn output(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let [out, error] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if status.success() { Ok(out) } else { Err(format!("{command:?}\n{out}\n{error}")) }
}

/// Looks again and again until there is an answer; panics with all evidence where none comes.
pub(crate) async fn eventually<T>(stage: &Stage, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let mut looks = interval(LOOK_AGAIN);
    let found = async {
        loop {
            looks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    if let Ok(found) = tokio::time::timeout(PATIENCE, found).await {
        return found;
    }
    panic!("{what} must be there within three minutes\n{}", stage.evidence().await)
}
