//! How the program ends, as `--help` documents it.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The server refused the request, or some images could not be scored.
    Failed = 1,
    /// Wrong usage: nothing was sent.
    Usage = 2,
    /// The server could not be reached, or was not available.
    Unreachable = 3,
    /// An image was decided anomalous, and that was asked for.
    Anomalous = 4,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
