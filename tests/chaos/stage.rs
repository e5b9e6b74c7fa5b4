//! What the trials share: a control plane with the definition of InCTRLModel, a node with the images, small data.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use inctrl_tests::control_plane::node::{Image, Node};
use inctrl_tests::control_plane::{ControlPlane, Controllers};
use inctrl_tests::go_tools::{GoTools, Suite};
use inctrl_tests::programs::program;
use kube::Client;
use tokio::runtime::Runtime;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard, OnceCell};

use crate::data;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/inctrl");

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static STAGE: OnceCell<Stage> = OnceCell::const_new();

/// Taken by [`strike`]: statics are not dropped.
static PLANE: Mutex<Option<(ControlPlane, Node)>> = Mutex::const_new(None);

/// What trials work with.
pub(crate) struct Stage {
    /// Folder of claims: `data` is the one that there is.
    pub(crate) claims: PathBuf,
    /// Content digest of the backbone on it.
    pub(crate) backbone: String,
    /// An administrator's client.
    pub(crate) client: Client,
    kubeconfig: PathBuf,
    helm: PathBuf,
}

/// Runs a trial.
pub(crate) fn block_on<T>(trial: impl Future<Output = T>) -> T {
    RUNTIME.block_on(trial)
}

/// Ends the control plane, where one was started.
pub(crate) fn strike() {
    block_on(async { drop(PLANE.lock().await.take()) });
}

/// The stage; set for the first.
pub(crate) async fn stage() -> &'static Stage {
    STAGE.get_or_init(set).await
}

async fn set() -> Stage {
    let plane = ControlPlane::start(Controllers::On).await.expect("the control plane must start");
    let node = Node::join(&plane, "node-1", ["inctrl-server", "inctrl-trainer"].map(image)).await.unwrap();
    let claims = plane.folder().join("claims");
    std::fs::create_dir(&claims).unwrap();
    data::lay_out(&claims.join("data"));
    let backbone = data::content_digest(&claims.join("data/backbone"));
    let definition = plane.folder().join("definition.yaml");
    let operator = program("inctrl-operator", "inctrl-operator").unwrap();
    std::fs::write(&definition, output(Command::new(operator).arg("crd")).unwrap()).unwrap();
    output(plane.kubectl().args(["apply", "--server-side", "--filename"]).arg(definition)).unwrap();
    let established = ["wait", "--for=condition=Established", "crd/inctrlmodels.inctrl.dev"];
    output(plane.kubectl().args(established)).unwrap();
    let stage = Stage {
        claims,
        backbone,
        client: plane.client().await.unwrap(),
        kubeconfig: plane.kubeconfig().to_owned(),
        helm: GoTools::build(Suite::Helm).unwrap().program("helm"),
    };
    *PLANE.lock().await = Some((plane, node));
    stage
}

/// The image of a program: itself, and where it finds what an image has at fixed paths.
fn image(name: &'static str) -> (String, Image) {
    let environment =
        [("INCTRL_PVC_ROOT", "/mnt/inctrl/pvc"), ("INCTRL_TERMINATION_LOG", "/dev/termination-log")];
    let image = Image {
        files: vec![(format!("/usr/local/bin/{name}"), program(name, name).unwrap())],
        environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..Image::default()
    };
    (format!("{name}:{}", env!("CARGO_PKG_VERSION")), image)
}

/// The control plane, for one at a time.
pub(crate) async fn plane() -> MappedMutexGuard<'static, ControlPlane> {
    MutexGuard::map(PLANE.lock().await, |plane| {
        &mut plane.as_mut().expect("a control plane is there until it is struck").0
    })
}

impl Stage {
    /// Installs the chart's part of the operator in a namespace.
    pub(crate) fn install(&self, namespace: &str, values: &Path) {
        let mut install = Command::new(&self.helm);
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            install.env(variable, self.claims.with_file_name("helm").join(variable));
        }
        install.args(["install", "r", CHART, "--namespace", namespace, "--kubeconfig"]).arg(&self.kubeconfig);
        output(install.arg("--values").arg(values)).unwrap_or_else(|said| panic!("{said}"));
    }
}

/// What a program printed, or all that it said where it failed.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let [out, error] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if status.success() { Ok(out) } else { Err(format!("{command:?}\n{out}\n{error}")) }
}
