//! A real `inctrl-server` for a test: started on a free port, ready when handed over, killed when dropped.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use crate::programs::{ProgramError, program};

/// A cold start on a busy machine; the starter backbone is loaded in under a second on a quiet one.
const READY_WITHIN: Duration = Duration::from_mins(2);
/// Between two looks at a server that starts.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Lines of a log that an error carries.
const TAIL_LINES: usize = 20;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Its program cannot be had.
    #[error("inctrl-server cannot be started")]
    Program(#[from] ProgramError),
    /// A file or process could not be had.
    #[error("{step}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// It ended, or was not ready in time.
    #[error("inctrl-server was not ready; the end of its log:\n{log}")]
    NotReady {
        /// The last lines that it printed.
        log: String,
    },
}

/// What a server serves.
#[derive(Debug, Clone)]
pub struct Served {
    /// Backbone folder.
    pub backbone: PathBuf,
    /// Head file.
    pub head: PathBuf,
    /// Further flags of `inctrl-server serve`.
    pub flags: Vec<String>,
}

/// A running server.
#[derive(Debug)]
pub struct ScoringServer {
    child: Child,
    address: SocketAddr,
    served: Served,
    /// Prompt sets, the log and the address file; kept over a restart.
    folder: TempDir,
}

impl ScoringServer {
    /// Starts a server on a free port; returns when it is ready for traffic.
    pub async fn start(served: Served) -> Result<Self, ServerError> {
        let folder = TempDir::with_prefix("inctrl-server-").map_err(io("making a directory"))?;
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (child, address) = launch(&served, folder.path(), anywhere).await?;
        Ok(Self { child, address, served, folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it without warning, as a crash does.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        self.child.kill().map_err(io("killing the server"))?;
        self.child.wait().map(|_| ()).map_err(io("waiting for the server's end"))
    }

    /// Starts it anew, where it was and with what it had stored.
    pub async fn start_again(&mut self) -> Result<(), ServerError> {
        let (child, _) = launch(&self.served, self.folder.path(), self.address).await?;
        self.child = child;
        Ok(())
    }

    /// Asks it to stop, as an orchestrator does.
    pub fn terminate(&self) -> Result<(), ServerError> {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &process]).status();
        sent.map(|_| ()).map_err(io("sending SIGTERM"))
    }
}

impl Drop for ScoringServer {
    fn drop(&mut self) {
        // A server that has ended is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn launch(
    served: &Served,
    folder: &Path,
    listen: SocketAddr,
) -> Result<(Child, SocketAddr), ServerError> {
    let Served { backbone, head, flags } = served;
    let (address_file, log) = (folder.join("address"), folder.join("log"));
    let _ = std::fs::remove_file(&address_file);
    let log_file = File::create(&log).map_err(io("creating the log"))?;
    let mut child = Command::new(program("inctrl-server", "inctrl-server")?)
        .arg("serve")
        .args(["--listen", &listen.to_string(), "--admin-listen", "127.0.0.1:0", "--device", "cpu"])
        .arg("--backbone")
        .arg(backbone)
        .arg("--head")
        .arg(head)
        .arg("--state-dir")
        .arg(folder.join("state"))
        .arg("--address-file")
        .arg(&address_file)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(log_file.try_clone().map_err(io("sharing the log"))?)
        .stderr(log_file)
        .spawn()
        .map_err(io("starting inctrl-server"))?;
    let began = Instant::now();
    loop {
        let written = std::fs::read_to_string(&address_file).unwrap_or_default();
        if let Ok(address) = written.trim().parse() {
            return Ok((child, address));
        }
        let has_ended = !matches!(child.try_wait(), Ok(None));
        if has_ended || READY_WITHIN < began.elapsed() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(ServerError::NotReady { log: tail(&log) });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn tail(log: &Path) -> String {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn io(step: &'static str) -> impl FnOnce(std::io::Error) -> ServerError {
    move |source| ServerError::Io { step, source }
}
