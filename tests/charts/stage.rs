//! What the trials share: a control plane with the definition of InCTRLModel, a node that runs the operator, and helm.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{LazyLock, Mutex, PoisonError};

use inctrl_tests::control_plane::node::{Image, Node};
use inctrl_tests::control_plane::{ControlPlane, Controllers};
use inctrl_tests::go_tools::{GoTools, Suite};
use inctrl_tests::programs::program;
use kube::Client;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// The chart.
pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/inctrl");

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static HELM: LazyLock<PathBuf> =
    LazyLock::new(|| GoTools::build(Suite::Helm).unwrap_or_else(|error| panic!("{error}")).program("helm"));
static STAGE: OnceCell<PathBuf> = OnceCell::const_new();

/// Taken by [`strike`]: statics are not dropped.
static PLANE: Mutex<Option<(ControlPlane, Node)>> = Mutex::new(None);

/// Runs a trial.
pub(crate) fn block_on<T>(trial: impl Future<Output = T>) -> T {
    RUNTIME.block_on(trial)
}

/// Ends the control plane, where one was started.
pub(crate) fn strike() {
    let plane = PLANE.lock().unwrap_or_else(PoisonError::into_inner).take();
    block_on(async move { drop(plane) });
}

/// Does something with the shared control plane; starts it for the first.
pub(crate) async fn with_plane<T>(act: impl FnOnce(&ControlPlane, &Node) -> T) -> T {
    start().await;
    let plane = PLANE.lock().unwrap_or_else(PoisonError::into_inner);
    let (plane, node) = plane.as_ref().expect("a started control plane is there until it is struck");
    act(plane, node)
}

/// An administrator's client.
pub(crate) async fn client() -> Client {
    ControlPlane::client_of(start().await).await.unwrap()
}

async fn start() -> &'static Path {
    STAGE
        .get_or_init(async || {
            let plane = ControlPlane::start(Controllers::On).await.expect("the control plane must start");
            let node = Node::join(&plane, "node-1", [image()]).await.unwrap();
            // Trials share it, so it is of no release; the one that is about it takes it over.
            let definition = success(Command::new(operator()).arg("crd"));
            let path = plane.folder().join("definition.yaml");
            std::fs::write(&path, definition).unwrap();
            success(plane.kubectl().args(["apply", "--server-side", "--filename"]).arg(path));
            let established = ["wait", "--for=condition=Established", "crd/inctrlmodels.inctrl.dev"];
            success(plane.kubectl().args(established));
            let kubeconfig = plane.kubeconfig().to_owned();
            *PLANE.lock().unwrap_or_else(PoisonError::into_inner) = Some((plane, node));
            kubeconfig
        })
        .await
}

/// The operator's image, as the chart names it.
fn image() -> (String, Image) {
    let image = Image {
        files: vec![("/usr/local/bin/inctrl-operator".to_owned(), operator())],
        // Found where the chart mounts claims, not where the program believes them.
        environment: vec![("INCTRL_PVC_ROOT".to_owned(), "/mnt/inctrl/pvc".to_owned())],
        ..Image::default()
    };
    (format!("inctrl-operator:{}", env!("CARGO_PKG_VERSION")), image)
}

fn operator() -> PathBuf {
    program("inctrl-operator", "inctrl-operator").unwrap()
}

/// A helm that reads and writes nothing of who runs the test.
pub(crate) fn helm(home: &Path) -> Command {
    let mut command = Command::new(&*HELM);
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, home.join(variable));
    }
    command.env_remove("KUBECONFIG");
    command
}

/// A helm that speaks to the control plane.
pub(crate) async fn helm_on_plane() -> Command {
    let kubeconfig = start().await;
    let home = with_plane(|plane, _| plane.folder().join("helm")).await;
    let mut command = helm(&home);
    command.env("KUBECONFIG", kubeconfig);
    command
}

/// What a program printed, and on standard error; it must have succeeded.
pub(crate) fn run(command: &mut Command) -> (String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let [out, error] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(status.success(), "{command:?}\n{out}\n{error}");
    (out, error)
}

/// What a program printed; it must have succeeded.
pub(crate) fn success(command: &mut Command) -> String {
    run(command).0
}

/// What a program said on standard error; it must have failed.
pub(crate) fn refusal(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let [out, error] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(!status.success(), "{command:?} must fail, but said\n{out}");
    error + &out
}

/// Files of values that the chart has to work with, and none.
pub(crate) fn value_files() -> Vec<Option<PathBuf>> {
    let folder = std::fs::read_dir(Path::new(CHART).join("ci")).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    std::iter::once(None).chain(files.into_iter().map(Some)).collect()
}

/// The flag that names a file of values.
pub(crate) fn values_flag(file: Option<&Path>) -> impl Iterator<Item = &OsStr> {
    file.into_iter().flat_map(|file| [OsStr::new("--values"), file.as_os_str()])
}
