//! A job over a small random CLIP and drawn images, with every place in one temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use inctrl_storage::dataset::{FingerprintMode, resolve};
use inctrl_storage::{Digest, Manifest, Store, StoreOptions, Uri, read_manifest};
use inctrl_trainer::job::Message;
use serde_json::{Value, json};

use crate::fixture::{Fixture, category};

/// What a pod left: its exit code and last words.
pub(crate) struct Pod {
    pub(crate) code: Option<i32>,
    pub(crate) message: Message,
    pub(crate) log: String,
}

pub(crate) struct Setting {
    pub(crate) fixture: Fixture,
    pub(crate) job: Value,
}

impl Setting {
    /// A job that can be done: three epochs over two categories.
    pub(crate) fn new() -> Self {
        let fixture = Fixture::new();
        for (root, first) in [("auxiliary", 0), ("held-out", 1000)] {
            for (name, number) in [("bolt", 0), ("cable", 300)] {
                category(&fixture.path(root), name, first + number, 4);
            }
        }
        let job = json!({
            "schema": "inctrl.dev/job/v1",
            "runKey": "4k2m7q9xza",
            "specHash": Digest::of("inputs"),
            "backbone": {
                "name": "small", "uri": uri(fixture.backbone.path()), "sha256": content(fixture.backbone.path()).hex(),
            },
            "head": "Contextual",
            "hyperparameters": { "epochs": 3, "batchSize": 4, "shots": 2, "seed": 7, "learningRate": "0.01" },
            "dataset": { "uri": uri(&fixture.path("auxiliary")), "fingerprintMode": "Content" },
            "gate": { "dataset": { "uri": uri(&fixture.path("held-out")), "fingerprintMode": "Manifest" }, "minSamples": 4 },
            "output": { "uri": uri(&fixture.path("artifacts/run")) },
        });
        Self { fixture, job }
    }

    /// The program of a pod with this name, which has its own working folder.
    pub(crate) fn command(&self, pod: &str) -> Command {
        let config = self.fixture.path("job.yaml");
        std::fs::write(&config, serde_json::to_string_pretty(&self.job).unwrap()).unwrap();
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("inctrl-trainer"));
        command.arg("run").arg("--config").arg(config).args(["--threads", "1"]);
        command.arg("--termination-log").arg(self.message_path(pod));
        command.arg("--work-dir").arg(self.fixture.path(pod));
        command
    }

    pub(crate) fn message_path(&self, pod: &str) -> PathBuf {
        self.fixture.path(&format!("{pod}.message"))
    }

    /// Runs a pod to its end.
    pub(crate) fn run(&self, pod: &str) -> Pod {
        let output = self.command(pod).output().unwrap();
        self.left(pod, output.status.code(), &output.stderr)
    }

    /// Starts a pod and waits until it has trained for an epoch.
    pub(crate) fn start(&self, pod: &str) -> Child {
        let mut running = self.command(pod).stderr(Stdio::piped()).spawn().unwrap();
        let checkpoint = self.fixture.path(pod).join("head-4k2m7q9xza/checkpoint.safetensors");
        while !checkpoint.exists() {
            assert!(running.try_wait().unwrap().is_none(), "the first epoch must leave a checkpoint");
            std::thread::yield_now();
        }
        running
    }

    /// Runs a pod to its end on a disk that takes no file of more than `blocks` of 512 bytes.
    pub(crate) fn run_cramped(&self, pod: &str, blocks: u32) -> Pod {
        let whole = self.command(pod);
        let mut cramped = Command::new("sh");
        // A program that does not hear of the limit by a signal gets an error from the write.
        cramped.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
        let output = cramped.arg(whole.get_program()).args(whole.get_args()).output().unwrap();
        self.left(pod, output.status.code(), &output.stderr)
    }

    /// What a pod left.
    pub(crate) fn left(&self, pod: &str, code: Option<i32>, log: &[u8]) -> Pod {
        let log = String::from_utf8_lossy(log).into_owned();
        let message = std::fs::read(self.message_path(pod)).unwrap_or_else(|error| panic!("{error}: {log}"));
        assert!(message.len() <= 4096, "Kubernetes keeps 4096 bytes, not {}", message.len());
        Pod { code, message: serde_json::from_slice(&message).unwrap(), log }
    }

    /// The artifact's store.
    pub(crate) fn output(&self) -> Store {
        open(self.job["output"]["uri"].as_str().unwrap())
    }

    /// The artifact, where there is one.
    pub(crate) fn manifest(&self) -> Option<Manifest> {
        block_on(read_manifest(&self.output(), None)).unwrap()
    }
}

pub(crate) fn uri(path: &Path) -> String {
    Uri::from_path(path).unwrap().to_string()
}

pub(crate) fn open(uri: &str) -> Store {
    Store::open(&uri.parse().unwrap(), &StoreOptions::anonymous()).unwrap()
}

pub(crate) fn content(folder: &Path) -> Digest {
    block_on(resolve(&open(&uri(folder)), None, FingerprintMode::Content)).unwrap().fingerprint
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
