//! The operator as a process: with the account, roles and arguments that the chart gives it, started anew whenever it was killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use inctrl_tests::interposer::Interposer;
use inctrl_tests::programs::program;
use inctrl_tests::tether::{self, Tethered};
use tokio::task::JoinSet;

/// How an operator is started.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// Where its Lease is.
    pub(crate) namespace: String,
    /// Who it says it is.
    pub(crate) identity: String,
    /// Arguments of the chart's pod, those aside that are about paths and addresses in it.
    pub(crate) arguments: Vec<String>,
    /// Folder of claims.
    pub(crate) claims: PathBuf,
    /// Through which it reaches the API server.
    pub(crate) kubeconfig: PathBuf,
    /// Where it logs to; added to by every process.
    pub(crate) log: PathBuf,
}

impl Recipe {
    /// Starts a process.
    pub(crate) fn start(&self) -> Tethered {
        let Self { namespace, identity, arguments, claims, kubeconfig, log } = self;
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command: Command = tether::command(program("inctrl-operator", "inctrl-operator").unwrap());
        command.args(arguments).arg("--pvc-root").arg(claims);
        command.args(["--admin-listen", "127.0.0.1:0", "--plaintext-loopback", "--log-format", "json"]);
        command.env("KUBECONFIG", kubeconfig).env("POD_NAME", identity).env("POD_NAMESPACE", namespace);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Tethered::spawn(&mut command).unwrap()
    }
}

/// An operator that is killed when its interposer says so, and then started anew.
#[derive(Debug)]
pub(crate) struct Operator {
    killed: Arc<AtomicUsize>,
    fell: Arc<AtomicBool>,
    log: PathBuf,
    _task: JoinSet<()>,
}

impl Operator {
    /// Starts it.
    pub(crate) fn start(recipe: Recipe, interposer: Arc<Interposer>) -> Self {
        let (killed, fell, log) = (Arc::default(), Arc::default(), recipe.log.clone());
        let mut task = JoinSet::new();
        task.spawn(keep_up(recipe, interposer, Arc::clone(&killed), Arc::clone(&fell)));
        Self { killed, fell, log, _task: task }
    }

    /// How often it was killed.
    pub(crate) fn killed(&self) -> usize {
        self.killed.load(Ordering::Acquire)
    }

    /// The end of its log; panics where it ended by itself.
    pub(crate) fn log(&self) -> String {
        let log = log_tail(&self.log);
        assert!(!self.fell.load(Ordering::Acquire), "the operator must not end by itself\n{log}");
        log
    }
}

/// The last lines of a log.
pub(crate) fn log_tail(path: &Path) -> String {
    let log = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

async fn keep_up(
    recipe: Recipe,
    interposer: Arc<Interposer>,
    killed: Arc<AtomicUsize>,
    fell: Arc<AtomicBool>,
) {
    loop {
        let mut process = recipe.start();
        let ended = tokio::select! {
            () = interposer.severed() => false,
            _ = process.wait() => true,
        };
        // Gone when this returns, without a chance to say goodbye.
        process.kill().unwrap();
        if ended {
            fell.store(true, Ordering::Release);
        } else {
            killed.fetch_add(1, Ordering::AcqRel);
        }
        interposer.mend();
    }
}
