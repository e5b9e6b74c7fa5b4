//! Programs that cannot outlive the test that started them: not when it panics, nor when it is killed.
//!
//! A program is run by the script `tether`, which kills it and its descendants once its standard input closes; the
//! kernel closes that with the test's process.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

const TETHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/harness/tether");

/// Between two looks whether a program has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Waits for its standard input to close, then removes the folder; files may still come while programs end.
const BROOM: &str = "read -r _; for _ in {1..50}; do rm -rf -- \"$0\" 2>/dev/null && exit; sleep 0.1; done";

/// A command that runs `program` tethered; arguments are the program's. Its standard input must stay the pipe that it
/// is.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(TETHER);
    command.arg(program).stdin(Stdio::piped());
    command
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Tethered(Child);

impl Tethered {
    /// Starts what [`command`] made.
    pub fn spawn(command: &mut Command) -> std::io::Result<Self> {
        command.spawn().map(Self)
    }

    /// Process id of the tether, whose child the program is.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Removes `folder` when this is dropped or this process is gone.
    pub fn broom(folder: &Path) -> std::io::Result<Self> {
        Command::new("bash").arg("-c").arg(BROOM).arg(folder).stdin(Stdio::piped()).spawn().map(Self)
    }

    /// Sends a signal, named without `SIG`, to the program and its descendants.
    pub fn signal(&mut self, signal: &str) -> std::io::Result<()> {
        let Some(tether) = &mut self.0.stdin else { return Ok(()) };
        writeln!(tether, "{signal}")
    }

    /// Waits until it ends.
    pub async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let mut looks = tokio::time::interval(LOOK_AGAIN);
        loop {
            looks.tick().await;
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
        }
    }

    /// How it ended, where it has.
    pub fn try_wait(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) -> std::io::Result<ExitStatus> {
        drop(self.0.stdin.take());
        self.0.wait()
    }
}

impl Drop for Tethered {
    fn drop(&mut self) {
        // One that has ended is no error.
        let _ = self.kill();
    }
}
