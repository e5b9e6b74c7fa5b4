//! `inctrl`, the client command of the InCTRL scoring server.
//!
//! The walk of a run:
//!
//! ```text
//! args         what was typed
//!   -> connection      addresses, certificates, token: checked before anything is sent
//!     -> server        one call: deadline, token, retry while the server is away (retry) or its refusal (refusal)
//!   -> score | prompts | info
//!        inputs, files   what was named -> files -> bytes
//!        maps, overlay   anomaly maps as pictures
//!     <- output          rows on standard output: data, nothing else
//!     <- notes           standard error: progress, notes, errors
//!   -> exit      how it ended, for scripts
//! ```
//!
//! Speaks `inctrl.v1` alone: no libtorch, no model code.

use std::error::Error;

use tokio::runtime::{Builder, Runtime};

use crate::args::{Command, CommandLine};
use crate::connection::{Connection, ConnectionError};
use crate::info::InfoError;
use crate::notes::Notes;
use crate::output::OutputError;
use crate::prompts::PromptsError;
use crate::score::ScoreError;
use crate::server::{CallError, Server};

pub mod args;
mod connection;
mod exit;
mod files;
mod info;
mod inputs;
mod maps;
mod normals;
mod notes;
mod output;
mod overlay;
mod prompts;
mod refusal;
mod retry;
mod score;
mod server;

pub use exit::Exit;

/// Threads that drive connections; images are read and drawn on the pool of [`files`].
const NETWORK_THREADS: usize = 2;

/// Does what was typed, telling on standard error what went wrong.
pub fn run(typed: CommandLine) -> Exit {
    let CommandLine { connection, quiet, command } = typed;
    let notes = Notes::new(quiet);
    let outcome = runtime().and_then(|runtime| {
        runtime.block_on(async {
            let server = Server::new(Connection::new(connection)?, notes.clone());
            tokio::select! {
                outcome = execute(command, &server, &notes) => outcome,
                _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
            }
        })
    });
    outcome.unwrap_or_else(|error| error.tell(&notes))
}

fn runtime() -> Result<Runtime, RunError> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(NETWORK_THREADS).max_blocking_threads(files::POOL_THREADS);
    builder.thread_name("inctrl").enable_all().build().map_err(RunError::Runtime)
}

async fn execute(command: Command, server: &Server, notes: &Notes) -> Result<Exit, RunError> {
    let stdout = std::io::stdout();
    Ok(match command {
        Command::Score(args) => score::run(*args, server, notes, stdout).await?,
        Command::Prompts(command) => prompts::run(command, server, notes, stdout).await?,
        Command::Info(args) => info::run(args, server, stdout).await?,
    })
}

/// Why a run ended before its end.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("threads cannot be started")]
    Runtime(#[source] std::io::Error),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Score(#[from] ScoreError),
    #[error(transparent)]
    Prompts(#[from] PromptsError),
    #[error(transparent)]
    Info(#[from] InfoError),
}

impl RunError {
    /// Tells people, and says how to exit.
    fn tell(&self, notes: &Notes) -> Exit {
        let exit = match self {
            Self::Score(ScoreError::Output(OutputError::Closed))
            | Self::Prompts(PromptsError::Output(OutputError::Closed))
            | Self::Info(InfoError::Output(OutputError::Closed)) => return Exit::Done,
            Self::Score(ScoreError::Call(error))
            | Self::Prompts(PromptsError::Call(error))
            | Self::Info(InfoError::Call(error)) => {
                notes.error(&format!("{error}{}", error.explanation()));
                return error.exit();
            }
            Self::Connection(_)
            | Self::Score(ScoreError::Input(_) | ScoreError::Maps(_) | ScoreError::Normals(_))
            | Self::Prompts(PromptsError::Normals(_)) => Exit::Usage,
            Self::Runtime(_)
            | Self::Score(ScoreError::Output(_))
            | Self::Prompts(PromptsError::Output(_))
            | Self::Info(InfoError::Output(_)) => Exit::Failed,
        };
        notes.error(&whole(self));
        exit
    }
}

impl CallError {
    fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. }
            | Self::Unavailable { .. }
            | Self::Untrusted { .. }
            | Self::Plaintext { .. } => Exit::Unreachable,
            Self::TimedOut { .. } | Self::Refused { .. } => Exit::Failed,
        }
    }
}

/// An error with its causes, outermost first.
fn whole(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}
