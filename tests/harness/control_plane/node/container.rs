//! One container: its program, run as often as the pod's policy says, and what it leaves behind.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::files::Waiting;
use super::probe::Probe;
use super::status::{End, Report, State};
use super::{Shared, environment, pod_folder, status, volumes};
use crate::tether::{self, Tethered};

/// What a container printed, in its folder.
pub(super) const LOG: &str = "log";

/// Longest termination message, as on a node.
const MESSAGE_BYTES: usize = 4096;

/// Looks again for what a container waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Before the first restart; doubled by each. A kubelet begins with 10 s.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// Where clients look for the account that they run as.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A container of a pod.
pub(super) struct Task {
    pub(super) node: Arc<Shared>,
    pub(super) pod: Arc<Pod>,
    pub(super) container: Container,
    /// Whether others wait for its success.
    pub(super) is_init: bool,
    pub(super) address: String,
    /// Set when the pod must end, to its grace.
    pub(super) ended: watch::Receiver<Option<Duration>>,
    /// Takes what this container is now.
    pub(super) reports: mpsc::Sender<(String, Report)>,
}

/// A container whose configuration and volumes are there.
struct Prepared {
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    /// Working folder.
    directory: PathBuf,
    folder: PathBuf,
    message: PathBuf,
    probe: Option<Probe>,
}

impl Task {
    /// Runs the container until it will not run again; answers whether it succeeded.
    pub(super) async fn run(mut self) -> bool {
        let mut report = Report::new();
        let Some(prepared) = self.prepare_until_ended(&mut report).await else { return false };
        let policy =
            self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
        let policy = policy.to_owned();
        let mut delay = FIRST_DELAY;
        loop {
            let end = self.run_once(&prepared, &mut report).await;
            let has_failed = end.code != 0;
            let again = match policy.as_str() {
                "Never" => false,
                "Always" => has_failed || !self.is_init,
                _ => has_failed,
            };
            report.is_ready = false;
            if !again || self.ended.borrow().is_some() {
                report.state = State::Terminated(end);
                self.tell(&report).await;
                return !has_failed;
            }
            let message = format!("back-off {} ms restarting failed container", delay.as_millis());
            report.last = Some(end);
            report.restarts += 1;
            report.state = State::Waiting(Waiting { reason: "CrashLoopBackOff", message });
            self.tell(&report).await;
            if timeout(delay, self.ended.wait_for(Option::is_some)).await.is_ok() {
                return false;
            }
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }

    async fn tell(&self, report: &Report) {
        // A pod that is gone hears nothing more.
        let _ = self.reports.send((self.container.name.clone(), report.clone())).await;
    }

    /// Waits for what the container needs; `None` when the pod ended before.
    async fn prepare_until_ended(&mut self, report: &mut Report) -> Option<Prepared> {
        let mut said = None;
        loop {
            match self.prepare().await {
                Ok(prepared) => return Some(prepared),
                Err(waiting) if said.as_ref() == Some(&waiting) => {}
                Err(waiting) => {
                    report.state = State::Waiting(waiting.clone());
                    said = Some(waiting);
                    self.tell(report).await;
                }
            }
            if timeout(LOOK_AGAIN, self.ended.wait_for(Option::is_some)).await.is_ok() {
                return None;
            }
        }
    }

    async fn prepare(&self) -> Result<Prepared, Waiting> {
        let Self { node, pod, container, address, .. } = self;
        let image = container.image.as_deref().unwrap_or_default();
        let image = node.images.get(image).ok_or_else(|| Waiting {
            reason: "ErrImagePull",
            message: format!("image {image:?} is none that this node has"),
        })?;
        let folder = pod_folder(&node.folder, pod).join(&container.name);
        let rewrite = volumes::lay_out(node, pod, container, address, image, &folder).await?;
        let mut environment = environment::environment(node, pod, container, address, image).await?;
        let command = container.command.as_ref().filter(|command| !command.is_empty());
        let arguments = command.unwrap_or(&image.entrypoint).iter().chain(container.args.iter().flatten());
        let arguments: Vec<_> =
            arguments.map(|text| rewrite.text(&environment::expand(text, &environment))).collect();
        if arguments.is_empty() {
            return Err(Waiting::config("neither the image nor the container has a command"));
        }
        for value in environment.values_mut() {
            *value = rewrite.text(value);
        }
        let root = folder.join("root");
        environment.entry("PATH".to_owned()).or_insert_with(|| search_path(&root));
        let has_account = container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == ACCOUNT);
        if has_account && !environment.contains_key("KUBECONFIG") {
            let file = folder.join("kubeconfig");
            let written = std::fs::write(&file, account_kubeconfig(node, &rewrite.text(ACCOUNT)));
            written.map_err(|error| Waiting::mount(format!("writing {}: {error}", file.display())))?;
            environment.insert("KUBECONFIG".to_owned(), file.display().to_string());
        }
        let temporary = rewrite.text("/tmp");
        environment.entry("TMPDIR".to_owned()).or_insert(temporary);
        let directory = match &container.working_dir {
            Some(path) => PathBuf::from(rewrite.text(path)),
            None => root,
        };
        let message = PathBuf::from(rewrite.text(volumes::termination_path(container)));
        let probe = Probe::readiness(container, address)?;
        Ok(Prepared { arguments, environment, directory, folder, message, probe })
    }

    async fn run_once(&mut self, prepared: &Prepared, report: &mut Report) -> End {
        let began = status::now();
        let end = |code, message| End { code, message, began: began.clone(), ended: status::now() };
        let mut program = match start(prepared) {
            Ok(program) => program,
            Err(error) => return end(128, format!("starting {:?}: {error}", prepared.arguments)),
        };
        report.state = State::Running { since: began.clone() };
        report.is_ready = prepared.probe.is_none();
        self.tell(report).await;
        let ended = loop {
            let probe = async {
                match &prepared.probe {
                    Some(probe) => probe.changed(report.is_ready).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ended = program.wait() => break ended,
                grace = wait_for_end(&mut self.ended) => {
                    // One that has just ended hears nothing.
                    let _ = program.signal("TERM");
                    match timeout(grace, program.wait()).await {
                        Ok(ended) => break ended,
                        Err(_) => break program.kill(),
                    }
                }
                () = probe => {
                    report.is_ready = !report.is_ready;
                    self.tell(report).await;
                }
            }
        };
        let code = ended.ok().and_then(|status| status.code()).unwrap_or(137);
        let fall_back = self.container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        let mut message = head(&prepared.message);
        if message.is_empty() && fall_back && code != 0 {
            message = tail(&prepared.folder.join(LOG));
        }
        end(code, message)
    }
}

/// The grace, once the pod must end.
async fn wait_for_end(ended: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match ended.wait_for(Option::is_some).await {
        Ok(grace) => grace.unwrap_or_default(),
        Err(_) => Duration::ZERO,
    }
}

/// Where programs are looked for: among the image's, then on this machine.
fn search_path(root: &Path) -> String {
    let images = ["usr/local/bin", "usr/bin", "bin"].map(|folder| root.join(folder).display().to_string());
    let machine = std::env::var("PATH").unwrap_or_default();
    images.into_iter().chain([machine]).collect::<Vec<_>>().join(":")
}

fn start(prepared: &Prepared) -> std::io::Result<Tethered> {
    let Prepared { arguments, environment, directory, folder, message, probe: _ } = prepared;
    std::fs::write(message, "")?;
    if let Some(temporary) = environment.get("TMPDIR") {
        std::fs::create_dir_all(temporary)?;
    }
    let log = File::options().create(true).append(true).open(folder.join(LOG))?;
    let [program, arguments @ ..] = arguments.as_slice() else {
        return Err(std::io::Error::other("no command"));
    };
    let mut command = tether::command(program);
    command.args(arguments).env_clear().envs(environment).current_dir(directory);
    command.stdout(log.try_clone()?).stderr(log);
    Tethered::spawn(&mut command)
}

/// A kubeconfig that stands for the folder that clients in a pod look in.
fn account_kubeconfig(node: &Shared, account: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "pod", "cluster": {
            "server": node.server.to_string(), "certificate-authority": format!("{account}/ca.crt"),
        }}],
        "users": [{ "name": "pod", "user": { "tokenFile": format!("{account}/token") } }],
        "contexts": [{ "name": "pod", "context": { "cluster": "pod", "user": "pod" } }],
        "current-context": "pod",
    })
    .to_string()
}

fn head(file: &Path) -> String {
    let mut bytes = std::fs::read(file).unwrap_or_default();
    bytes.truncate(MESSAGE_BYTES);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn tail(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(MESSAGE_BYTES / 2)..]).into_owned()
}
