//! One program of the control plane; killed when dropped.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::ControlPlaneError;
use crate::tether::{self, Tethered};

/// Lines of a log that an error carries.
const TAIL_LINES: usize = 15;

#[derive(Debug)]
pub(super) struct Process {
    program: &'static str,
    running: Tethered,
    log: PathBuf,
}

impl Process {
    pub(super) fn spawn(
        program: &'static str,
        path: &Path,
        flags: &[String],
        log: PathBuf,
    ) -> std::io::Result<Self> {
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = tether::command(path);
        command.args(flags).stdout(file.try_clone()?).stderr(file);
        Ok(Self { program, running: Tethered::spawn(&mut command)?, log })
    }

    pub(super) fn program(&self) -> &'static str {
        self.program
    }

    /// An error where the program has ended.
    pub(super) fn ended(&mut self) -> Option<ControlPlaneError> {
        let ended = !matches!(self.running.try_wait(), Ok(None));
        ended.then(|| ControlPlaneError::NotReady { program: self.program, log: self.log_tail() })
    }

    /// Sends a signal, named without `SIG`.
    pub(super) fn signal(&mut self, signal: &str) -> std::io::Result<()> {
        self.running.signal(signal)
    }

    /// The last lines that the program printed.
    pub(super) fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}
