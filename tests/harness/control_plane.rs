//! A real Kubernetes control plane for a test: etcd, kube-apiserver and, where asked for, kube-controller-manager
//! and kube-scheduler, on free loopback ports with throw-away certificates, taken down when the value is dropped.
//!
//! The programs come from `tests/control-plane/build` (or `KUBEBUILDER_ASSETS`). Pods run where a [`node`] was joined;
//! without one, who needs a pod to end patches its status.

pub mod node;

mod audit;
mod flags;
mod pki;
mod process;

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::go_tools::{GoTools, GoToolsError, Suite};
use crate::tether::Tethered;
use crate::wait::eventually;
pub use audit::Call;
use flags::Ports;
use pki::Pki;
use process::Process;

/// A cold API server on a busy machine; it is ready in 3 s on a quiet one.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// Between two looks at a program that starts.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Which programs run beside etcd and the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controllers {
    /// None: resources are stored, validated and watched, nothing acts on them.
    Off,
    /// kube-controller-manager and kube-scheduler: Jobs make pods, TTLs and owner references are collected.
    On,
}

/// Why there is no control plane.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlPlaneError {
    /// The programs could not be built.
    #[error("the control plane's programs are not to be had")]
    Programs(#[from] GoToolsError),
    /// A certificate could not be made.
    #[error("making throw-away certificates")]
    Certificates(#[from] rcgen::Error),
    /// A file, port or program could not be had.
    #[error("{step}")]
    Io {
        /// What was being done.
        step: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A program ended or was not ready in time.
    #[error("{program} was not ready; the end of its log:\n{log}")]
    NotReady {
        /// Its name.
        program: &'static str,
        /// The last lines that it printed.
        log: String,
    },
    /// The kubeconfig that the harness wrote could not be used.
    #[error("reading the kubeconfig that was just written")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// No client.
    #[error("making a client")]
    Client(#[from] kube::Error),
}

/// A running control plane. Dropping it kills its programs and removes its files; so does the end of this process,
/// however it ends.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped first to last: clients of etcd go before etcd, the files last.
    processes: Vec<Process>,
    programs: GoTools,
    pki: Pki,
    ports: Ports,
    kubeconfig: PathBuf,
    server: http::Uri,
    _broom: Tethered,
    directory: TempDir,
}

impl ControlPlane {
    /// Whether the programs can be had; the reason where not.
    pub fn is_at_hand() -> Result<(), GoToolsError> {
        GoTools::are_at_hand(Suite::ControlPlane)
    }

    /// Starts etcd and the API server, and the controllers where asked for; returns when all are ready.
    pub async fn start(controllers: Controllers) -> Result<Self, ControlPlaneError> {
        let programs = GoTools::build(Suite::ControlPlane)?;
        let directory = TempDir::with_prefix("inctrl-control-plane-").map_err(io("making a directory"))?;
        let broom = Tethered::broom(directory.path()).map_err(io("starting the broom"))?;
        let ports = Ports::free().map_err(io("looking for a free port"))?;
        let pki = Pki::create(directory.path(), ports.api_server)?;
        audit::write_policy(directory.path()).map_err(io("writing the audit policy"))?;
        let kubeconfig = pki.kubeconfig("admin");
        let server = format!("https://127.0.0.1:{}", ports.api_server);
        let server = server.parse().expect("an address and a port are a URI");
        let processes = Vec::new();
        let mut plane =
            Self { processes, programs, pki, ports, kubeconfig, server, _broom: broom, directory };
        plane.spawn("etcd")?;
        plane.spawn("kube-apiserver")?;
        plane.wait_for_api_server().await?;
        if controllers == Controllers::On {
            plane.spawn("kube-controller-manager")?;
            plane.spawn("kube-scheduler")?;
            // The service account of the default namespace is the controller manager's first work.
            let accounts: Api<ServiceAccount> = Api::namespaced(plane.client().await?, "default");
            plane
                .wait("kube-controller-manager", || async {
                    matches!(accounts.get_opt("default").await, Ok(Some(_)))
                })
                .await?;
        }
        Ok(plane)
    }

    /// A client of the cluster's administrator.
    pub async fn client(&self) -> Result<Client, ControlPlaneError> {
        Self::client_of(&self.kubeconfig).await
    }

    /// A client of whoever a kubeconfig is of.
    pub async fn client_of(kubeconfig: &Path) -> Result<Client, ControlPlaneError> {
        let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// Path of the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Writes a kubeconfig of a service account, with a token that holds for an hour; answers its path.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf, ControlPlaneError> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let request = TokenRequest::default();
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
        let token = answer.status.and_then(|status| status.token).unwrap_or_default();
        self.pki.account_kubeconfig(namespace, account, &token, self.ports.api_server)
    }

    /// Where the API server is.
    pub fn server(&self) -> &http::Uri {
        &self.server
    }

    /// The calls to the API server of a user, such as `system:serviceaccount:NAMESPACE:NAME`, that are over.
    pub fn calls_of(&self, user: &str) -> Result<Vec<Call>, ControlPlaneError> {
        audit::calls(self.directory.path(), user).map_err(io("reading the audit log"))
    }

    /// A folder that lives as long as the control plane.
    pub fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// The `kubectl` of the same version, with the administrator's kubeconfig.
    pub fn kubectl(&self) -> std::process::Command {
        let mut command = std::process::Command::new(self.programs.program("kubectl"));
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }

    /// Kills a program without warning, as a crash does.
    pub fn kill(&mut self, program: &str) {
        self.processes.retain(|process| process.program() != program);
    }

    /// Sends a signal, named without `SIG`, to a program: `STOP` and `CONT` make it hang and go on.
    pub fn signal(&mut self, program: &str, signal: &str) -> Result<(), ControlPlaneError> {
        let mut processes = self.processes.iter_mut();
        let process = processes.find(|process| process.program() == program);
        process.map_or(Ok(()), |process| process.signal(signal)).map_err(io("sending a signal"))
    }

    /// Starts a program anew after [`Self::kill`]; returns when the API server answers, where one was left or started.
    pub async fn start_again(&mut self, program: &'static str) -> Result<(), ControlPlaneError> {
        self.spawn(program)?;
        let has_server = self.processes.iter().any(|process| process.program() == "kube-apiserver");
        if has_server { self.wait_for_api_server().await } else { Ok(()) }
    }

    fn spawn(&mut self, program: &'static str) -> Result<(), ControlPlaneError> {
        let flags = flags::of(program, self.directory.path(), &self.pki, &self.ports);
        let log = self.directory.path().join(format!("{program}.log"));
        let process = Process::spawn(program, &self.programs.program(program), &flags, log)
            .map_err(io(&format!("starting {program}")))?;
        self.processes.insert(0, process);
        Ok(())
    }

    async fn wait_for_api_server(&mut self) -> Result<(), ControlPlaneError> {
        let client = self.client().await?;
        self.wait("kube-apiserver", || ready(&client)).await
    }

    /// Looks until `is_ready` says so; fails when a program ended or time is up.
    async fn wait(
        &mut self,
        program: &'static str,
        is_ready: impl AsyncFn() -> bool,
    ) -> Result<(), ControlPlaneError> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut looks = tokio::time::interval(LOOK_AGAIN);
        loop {
            looks.tick().await;
            if is_ready().await {
                return Ok(());
            }
            if let Some(ended) = self.processes.iter_mut().find_map(Process::ended) {
                return Err(ended);
            }
            if Instant::now() > deadline {
                let process = self.processes.iter().find(|process| process.program() == program);
                let log = process.map(Process::log_tail).unwrap_or_default();
                return Err(ControlPlaneError::NotReady { program, log });
            }
        }
    }
}

/// Makes a namespace with these labels; its service account is there when this returns.
pub async fn create_namespace(client: &Client, name: &str, labels: &[(&str, &str)]) {
    let labels = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    let metadata = ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = Namespace { metadata, ..Namespace::default() };
    namespaces.create(&PostParams::default(), &namespace).await.expect("the namespace must be accepted");
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
    let account = async || accounts.get_opt("default").await.expect("accounts must be readable");
    eventually("the namespace's account", account).await;
}

async fn ready(client: &Client) -> bool {
    let request = http::Request::get("/readyz").body(Vec::new()).expect("a constant request is well-formed");
    client.request_text(request).await.is_ok_and(|answer| answer == "ok")
}

fn io(step: &str) -> impl FnOnce(std::io::Error) -> ControlPlaneError {
    let step = step.to_owned();
    move |source| ControlPlaneError::Io { step, source }
}
