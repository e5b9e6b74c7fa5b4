//! An operator as a process of its own, and what it costs.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inctrl_tests::programs::program;
use inctrl_tests::tether::{self, Tethered};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::stage::{RELEASE, Stage};
use crate::wait::{OFTEN, until};

/// Clock ticks of a second in `/proc`, on every Linux there is.
const TICKS: f64 = 100.0;

/// How a new leader spreads its first look at every model.
const STARTS_PER_SECOND: f64 = 500.0;
const LONGEST_START: Duration = Duration::from_secs(30);

/// How fast it may call the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As the chart says.
    Chart,
    /// As fast as a control plane of two cores answers: to get through the first round over models that are new to it.
    Fast,
}

/// A running operator; killed when dropped.
pub(crate) struct Operator {
    program: Tethered,
    pid: u32,
    admin: SocketAddr,
    started: Instant,
}

/// What it is told in the chart besides pace and places.
fn flags(stage: &Stage, pace: Pace, address: &Path) -> Vec<String> {
    let (qps, burst) = match pace {
        Pace::Chart => (50, 100),
        Pace::Fast => (1000, 1000),
    };
    let tls = |file: &str| stage.tls.join(file).display().to_string();
    vec![
        "run".into(),
        "--admin-listen=127.0.0.1:0".into(),
        format!("--address-file={}", address.display()),
        format!("--trainer-image=inctrl-trainer:{}", env!("CARGO_PKG_VERSION")),
        "--pod-selector=app.kubernetes.io/name in (inctrl-server, inctrl-trainer)".into(),
        format!("--pvc-root={}", stage.folder.parent().unwrap().display()),
        format!("--server-tls-ca={}", tls("ca.crt")),
        format!("--server-tls-certificate={}", tls("tls.crt")),
        format!("--server-tls-key={}", tls("tls.key")),
        format!("--lease-name={RELEASE}-inctrl-operator"),
        "--lease-namespace=default".into(),
        "--concurrency=16".into(),
        format!("--api-qps={qps}"),
        format!("--api-burst={burst}"),
        "--resync=10m".into(),
        "--log-format=json".into(),
    ]
}

impl Operator {
    /// Starts one; it is not ready yet when handed over.
    pub(crate) async fn start(stage: &Stage, pace: Pace) -> Self {
        let folder = tempfile::tempdir_in(&stage.work).unwrap().keep();
        let address = folder.join("address");
        let log = File::create(folder.join("log")).unwrap();
        let mut command = tether::command(program("inctrl-operator", "inctrl-operator").unwrap());
        command
            .args(flags(stage, pace, &address))
            .env("KUBECONFIG", stage.account().await)
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let started = Instant::now();
        let program = Tethered::spawn(&mut command).unwrap();
        let read = async || std::fs::read_to_string(&address).ok()?.parse().ok();
        let (admin, _) = until("the operator's address", OFTEN, read).await;
        let pid = child(program.id(), "inctrl-operator");
        Self { program, pid, admin, started }
    }

    /// Waits until its caches are filled; how long that took from its start.
    pub(crate) async fn filled(&self) -> Duration {
        let ready = async || self.get("/readyz").await.filter(|answer| answer.contains(" 200 "));
        until("filled caches", OFTEN, ready).await;
        self.started.elapsed()
    }

    /// Waits until it has looked at so many models; how long that took from its start.
    pub(crate) async fn looked_at(&self, models: usize) -> Duration {
        let leads = async || (self.metrics().await.sum("inctrl_operator_leader") > 0.0).then_some(());
        until("a leader", OFTEN, leads).await;
        // Some wait for a node and have several rounds; all have had theirs once the last one was due.
        let last =
            Instant::now() + Duration::from_secs_f64(models as f64 / STARTS_PER_SECOND).min(LONGEST_START);
        let made = async || {
            let all = self.rounds_made().await >= models as f64;
            (all && Instant::now() > last).then_some(())
        };
        until("rounds over all models", OFTEN * 5, made).await;
        self.started.elapsed()
    }

    /// Rounds since it started.
    pub(crate) async fn rounds_made(&self) -> f64 {
        self.metrics().await.sum("inctrl_operator_reconcile_duration_seconds_count")
    }

    /// What it shows of itself.
    pub(crate) async fn metrics(&self) -> Metrics {
        Metrics(self.get("/metrics").await.unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Option<String> {
        get(self.admin, path).await.ok()
    }

    /// Memory in MB as the kernel counts it: now, and at most since it started.
    pub(crate) fn memory(&self) -> (f64, f64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1000.0
        };
        (of("VmRSS"), of("VmHWM"))
    }

    /// Seconds of processor time since it started.
    pub(crate) fn processor(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        // User and system time are the 14th and 15th field; two are before the bracket.
        fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS
    }

    /// Ends it as a node that dies does.
    pub(crate) fn kill(mut self) {
        self.program.kill().unwrap();
    }

    /// Ends it as Kubernetes does.
    pub(crate) async fn stop(mut self) {
        self.program.signal("TERM").unwrap();
        self.program.wait().await.unwrap();
    }
}

/// Samples as a scrape has them.
pub(crate) struct Metrics(String);

impl Metrics {
    /// Sum over all labels.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.samples(name).map(|(_, value)| value).sum()
    }

    /// Labels and values.
    pub(crate) fn samples(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            let (labels, value) = rest.rsplit_once(' ')?;
            Some((labels, value.parse().ok()?))
        })
    }
}

/// A plain request; head and body of the answer.
pub(crate) async fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The process that a tether started.
fn child(tether: u32, program: &str) -> u32 {
    let parent = format!("PPid:\t{tether}");
    let is_it = |folder: &PathBuf| {
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        let executable = std::fs::read_link(folder.join("exe")).unwrap_or_default();
        status.lines().any(|line| line == parent) && executable.ends_with(program)
    };
    let mut processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let found = processes.find(is_it).unwrap_or_else(|| panic!("no {program} below {tether}"));
    found.file_name().unwrap().to_str().unwrap().parse().unwrap()
}
