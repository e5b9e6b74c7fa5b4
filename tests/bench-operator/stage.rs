//! What the measurements share: a control plane, the chart's release without its operators, data, two scoring servers.

use std::path::{Path, PathBuf};
use std::process::Command;

use inctrl_tests::control_plane::node::{Image, Node};
use inctrl_tests::control_plane::{Call, ControlPlane, Controllers};
use inctrl_tests::go_tools::{GoTools, Suite};
use inctrl_tests::programs::program;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::data;
use crate::wait::{SELDOM, say, until};

/// Name of the release.
pub(crate) const RELEASE: &str = "r";

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/inctrl");

/// What measurements work with.
pub(crate) struct Stage {
    plane: ControlPlane,
    _node: Node,
    /// An administrator's client.
    pub(crate) client: Client,
    /// What lies on the claim `data`.
    pub(crate) folder: PathBuf,
    /// Content digest of the backbone on it.
    pub(crate) backbone: String,
    /// The operator's certificate.
    pub(crate) tls: PathBuf,
    /// Where operators write.
    pub(crate) work: PathBuf,
}

/// Starts everything but operators.
pub(crate) async fn set() -> Stage {
    say("starting a control plane, a node and two scoring servers");
    let plane = ControlPlane::start(Controllers::On).await.unwrap();
    let node = Node::join(&plane, "node-1", images()).await.unwrap();
    let client = plane.client().await.unwrap();
    let root = plane.folder().to_owned();
    let (folder, tls, work) = (root.join("claims/data"), root.join("tls"), root.join("work"));
    for made in [&root.join("claims"), &tls, &work] {
        std::fs::create_dir(made).unwrap();
    }
    data::lay_out(&folder);
    let backbone = data::content_digest(&folder.join("backbone"));
    let stage = Stage { plane, _node: node, client, folder, backbone, tls, work };
    stage.apply(&volume(&stage.folder));
    stage.apply(&claim());
    stage.install();
    stage.certificate().await;
    stage.servers().await;
    stage
}

fn images() -> Vec<(String, Image)> {
    let environment =
        [("INCTRL_PVC_ROOT", "/mnt/inctrl/pvc"), ("INCTRL_TERMINATION_LOG", "/dev/termination-log")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    ["inctrl-server", "inctrl-trainer"]
        .map(|name| {
            let files = vec![(format!("/usr/local/bin/{name}"), program(name, name).unwrap())];
            let image = Image { files, environment: environment.to_vec(), ..Image::default() };
            (format!("{name}:{}", env!("CARGO_PKG_VERSION")), image)
        })
        .into()
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
    fn apply(&self, object: &Value) {
        let file = self.work.join("applied.json");
        std::fs::write(&file, object.to_string()).unwrap();
        run(self.plane.kubectl().args(["apply", "--filename"]).arg(file));
    }

    /// Installs the chart; its operators are started one by one.
    fn install(&self) {
        let helm = GoTools::build(Suite::Helm).unwrap().program("helm");
        let values = json!({
            "operator": { "replicas": 0, "claims": [{ "name": "data", "readOnly": false }] },
            "server": {
                "replicas": 2,
                "listen": { "host": "$(POD_IP)" },
                "backbone": "/mnt/inctrl/pvc/data/backbone",
                "claims": [{ "name": "data" }],
            },
        });
        let file = self.work.join("values.json");
        std::fs::write(&file, values.to_string()).unwrap();
        let mut install = Command::new(helm);
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            install.env(variable, self.work.join(variable));
        }
        install.args(["install", RELEASE, CHART, "--kubeconfig"]).arg(self.plane.kubeconfig());
        run(install.arg("--values").arg(file));
    }

    /// Writes the operator's certificate to files.
    async fn certificate(&self) {
        let secrets: Api<Secret> = Api::default_namespaced(self.client.clone());
        let secret = secrets.get(&format!("{RELEASE}-inctrl-operator-tls")).await.unwrap();
        for (name, content) in secret.data.unwrap() {
            std::fs::write(self.tls.join(name), content.0).unwrap();
        }
    }

    /// A kubeconfig of the operator's account, with a fresh token.
    pub(crate) async fn account(&self) -> PathBuf {
        self.plane.kubeconfig_of("default", &format!("{RELEASE}-inctrl-operator")).await.unwrap()
    }

    /// What operators have written until now, Leases aside.
    pub(crate) fn writes(&self) -> Vec<Call> {
        let user = format!("system:serviceaccount:default:{RELEASE}-inctrl-operator");
        let mut calls = self.plane.calls_of(&user).unwrap();
        calls.retain(|call| {
            let writes = matches!(call.verb.as_str(), "create" | "update" | "patch" | "delete");
            writes && !call.resource.starts_with("leases")
        });
        calls
    }

    /// All models.
    pub(crate) fn models(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("inctrl.dev", "v1alpha1", "InCTRLModel");
        let kind = ApiResource::from_gvk_with_plural(&kind, "inctrlmodels");
        Api::default_namespaced_with(self.client.clone(), &kind)
    }

    /// Addresses of the two scoring servers, once they run.
    pub(crate) async fn servers(&self) -> Vec<String> {
        let pods: Api<Pod> = Api::default_namespaced(self.client.clone());
        let servers = ListParams::default().labels("app.kubernetes.io/name=inctrl-server");
        let running = async || {
            let pods = pods.list(&servers).await.unwrap().items;
            let statuses = pods.into_iter().filter_map(|pod| pod.status);
            let running = statuses.filter(|status| status.phase.as_deref() == Some("Running"));
            let addresses: Vec<_> = running.filter_map(|status| status.pod_ip).collect();
            (addresses.len() == 2).then_some(addresses)
        };
        until("two scoring servers", SELDOM, running).await.0
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}");
}
