//! Requests that go on all the while: none may fail.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use inctrl_tests::programs::program;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::stage::output;

/// Between two requests: they show that servers answer, not how much they can.
const PACE: Duration = Duration::from_millis(400);

/// A model on a server, and images to score.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Address of the server.
    pub(crate) server: String,
    /// Name of the model.
    pub(crate) model: String,
    /// Folder of a category.
    pub(crate) images: PathBuf,
}

impl Asked {
    /// The same without holding up others.
    pub(crate) async fn scored(self) -> Result<BTreeSet<String>, String> {
        apart(move || self.score()).await.map_err(|_| "the thread that scores panicked".to_owned())?
    }

    /// Scores eight images; answers the revisions that did it.
    pub(crate) fn score(&self) -> Result<BTreeSet<String>, String> {
        let Self { server, model, images } = self;
        let mut command = Command::new(program("inctrl-cli", "inctrl").unwrap());
        command.args(["--server", &format!("http://{server}:50051"), "--retry-for", "0s", "score"]);
        command.arg(images.join("test")).args(["--model", model, "--format", "json", "--class", "bolt"]);
        command.arg("--normals").arg(images.join("train/good"));
        let said = output(&mut command)?;
        let rows: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if rows.len() == 8 {
            Ok(rows.iter().map(|row| row["revision"].as_str().unwrap_or_default().to_owned()).collect())
        } else {
            Err(format!("eight images must be scored, not {}:\n{said}", rows.len()))
        }
    }
}

/// Requests in turn to several servers until it is dropped.
#[derive(Debug)]
pub(crate) struct Traffic {
    stop: Sender<()>,
    seen: oneshot::Receiver<Result<BTreeSet<String>, String>>,
}

impl Traffic {
    /// Begins.
    pub(crate) fn begin(asked: Vec<Asked>) -> Self {
        let (stop, stopped) = channel();
        let seen = apart(move || {
            let mut seen = BTreeSet::new();
            for asked in asked.iter().cycle() {
                seen.extend(asked.score()?);
                if stopped.recv_timeout(PACE) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            Ok(seen)
        });
        Self { stop, seen }
    }

    /// Ends; the revisions that answered, or the first failure.
    pub(crate) async fn end(self) -> Result<BTreeSet<String>, String> {
        let Self { stop, seen } = self;
        drop(stop);
        seen.await.map_err(|_| "the thread of the requests panicked".to_owned())?
    }
}

/// Does what blocks on a thread of its own.
fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name("requests".to_owned());
    // Whoever asked may have left.
    thread.spawn(move || drop(done.send(work()))).unwrap();
    receiver
}
