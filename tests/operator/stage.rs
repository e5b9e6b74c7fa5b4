//! What the trials share: one control plane with one node, and how to wait.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use inctrl_tests::control_plane::node::{Image, Node};
use inctrl_tests::control_plane::{ControlPlane, Controllers, create_namespace};
pub(crate) use inctrl_tests::wait::eventually;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// An image whose program is the shell.
pub(crate) const SHELL: &str = "shell:1";

/// Clients and the node's pods live on it, longer than a trial.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

static STAGE: OnceCell<Stage> = OnceCell::const_new();

/// Taken by [`strike`]: statics are not dropped.
static PLANE: Mutex<Option<(ControlPlane, Node)>> = Mutex::new(None);

/// Namespaces given out.
static NAMESPACES: AtomicU32 = AtomicU32::new(0);

struct Stage {
    kubeconfig: PathBuf,
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

/// Does something with the shared control plane; starts it for the first.
pub(crate) async fn with_plane<T>(act: impl FnOnce(&ControlPlane, &Node) -> T) -> T {
    start().await;
    let plane = PLANE.lock().unwrap_or_else(PoisonError::into_inner);
    let (plane, node) = plane.as_ref().expect("a started control plane is there until it is struck");
    act(plane, node)
}

/// An administrator's client.
pub(crate) async fn client() -> Client {
    ControlPlane::client_of(&start().await.kubeconfig).await.unwrap()
}

async fn start() -> &'static Stage {
    STAGE
        .get_or_init(async || {
            let plane = ControlPlane::start(Controllers::On).await.expect("the control plane must start");
            let entrypoint = ["/bin/sh", "-c"].map(str::to_owned).to_vec();
            let shell = Image { entrypoint, ..Image::default() };
            let node = Node::join(&plane, "node-1", [(SHELL.to_owned(), shell)]).await.unwrap();
            let stage = Stage { kubeconfig: plane.kubeconfig().to_owned() };
            *PLANE.lock().unwrap_or_else(PoisonError::into_inner) = Some((plane, node));
            stage
        })
        .await
}

/// A namespace of the trial's own, with its service account.
pub(crate) async fn namespace(client: &Client) -> String {
    let name = format!("trial-{}", NAMESPACES.fetch_add(1, Ordering::Relaxed));
    create_namespace(client, &name, &[]).await;
    name
}

/// The pods of a job.
pub(crate) async fn pods_of(pods: &Api<Pod>, job: &str) -> Vec<Pod> {
    pods.list(&ListParams::default().labels(&format!("job-name={job}"))).await.unwrap().items
}
