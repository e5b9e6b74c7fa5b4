//! Coming back without an operator.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use inctrl_proto::v1::HeadProblem;
use inctrl_proto::v1::HeadState;
use inctrl_proto::v1::anomaly_detection_service_client::AnomalyDetectionServiceClient;
use inctrl_proto::v1::prompt_set_service_client::PromptSetServiceClient;
use tonic::Code;
use tonic::transport::Channel;

use super::artifact::Artifact;
use super::real::{artifact, inline_prompts, query};
use super::stage::{Operator, assert_loaded, assert_stands, head, headless, model, score};
use crate::real::Official;
use crate::stage::{Server, against, create, reason};

#[tokio::test]
async fn the_last_state_comes_back_with_its_fence() {
    let (server, _hand) = Server::start_with(headless).await;
    server.create("nut").await;
    let mut operator = Operator::of(&server).await;
    let [a, b] = [Artifact::fake("a", 0.1), Artifact::fake("b", 0.2)];
    operator.apply((3, 1), vec![model(Some(a.inline(1)), None, 0)]).await.unwrap();
    // The next active head is refused: the former answers in its place, also after a restart.
    let mut bad = b.clone();
    bad.record["selfTest"]["expected"][0] = 0.9.into();
    operator.apply((3, 2), vec![model(Some(bad.inline(2)), None, 0)]).await.unwrap();
    let folder = server.stop().await;

    let (server, _hand) = Server::start_in(folder, headless).await;
    let answer = score(&server, 51).await.unwrap();
    assert_eq!(answer.provenance.unwrap().revision, a.digest());
    let mut operator = Operator::of(&server).await;
    let status = operator.status().await;
    assert_eq!((status.epoch, status.generation, status.durable), (3, 2, true));
    assert_loaded(&status, &a.digest());
    let stale = operator.apply((2, 9), Vec::new()).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::FailedPrecondition, "STALE_EPOCH"));
    server.stop().await;
}

#[tokio::test]
async fn a_damaged_state_is_set_aside_and_a_damaged_head_is_refused() {
    let a = Artifact::fake("a", 0.1);
    let (server, _hand) = Server::start_with(headless).await;
    Operator::of(&server).await.command(1, model(Some(a.inline(1)), None, 0)).await;
    let folder = server.stop().await;
    let state = folder.path().join("state/rollout");
    let hex = a.digest().replace("sha256:", "");
    std::fs::write(state.join("heads").join(hex).join("head.safetensors"), "a 0.7").unwrap();

    let (server, _hand) = Server::start_in(folder, headless).await;
    let status = Operator::of(&server).await.status().await;
    assert_stands(&status, &a.digest(), HeadState::Refused, HeadProblem::DigestMismatch);
    let folder = server.stop().await;
    std::fs::write(state.join("state.json"), "{\"version\": 1, ").unwrap();

    let (server, _hand) = Server::start_in(folder, headless).await;
    let mut operator = Operator::of(&server).await;
    assert_eq!(operator.status().await.epoch, 0);
    assert!(state.join("state.json.damaged").exists(), "it must be there to be looked at");
    let status = operator.command(1, model(Some(a.inline(1)), None, 0)).await;
    assert_loaded(&status, &a.digest());
    assert!(status.durable);
    server.stop().await;
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_told_and_made_up_for_while_serving_goes_on() {
    let (server, _hand) = Server::start_with(headless).await;
    server.create("nut").await;
    let (rollout, away) = (server.folder.path().join("state/rollout"), server.folder.path().join("away"));
    std::fs::rename(&rollout, &away).unwrap();
    std::fs::write(&rollout, "a file where the folder should be").unwrap();
    let mut operator = Operator::of(&server).await;
    let a = Artifact::fake("a", 0.1);
    let status = operator.command(1, model(Some(a.inline(1)), None, 0)).await;
    assert_loaded(&status, &a.digest());
    assert!(!status.durable);
    assert!((score(&server, 51).await.unwrap().score - 0.3).abs() < 1e-6);
    std::fs::remove_file(&rollout).unwrap();
    std::fs::rename(&away, &rollout).unwrap();
    let status = operator.command(2, model(Some(a.known(1)), None, 0)).await;
    assert!(status.durable, "the head came along once and must not be asked for again");
    let folder = server.stop().await;
    let (server, _hand) = Server::start_in(folder, headless).await;
    assert!((score(&server, 51).await.unwrap().score - 0.3).abs() < 1e-6);
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_cannot_be_kept_leaves_the_former_state_whole_until_it_can() {
    let (server, _hand) = Server::start_with(headless).await;
    let mut operator = Operator::of(&server).await;
    let [a, b] = [Artifact::fake("a", 0.1), Artifact::fake("b", 0.2)];
    operator.command(1, model(Some(a.inline(1)), None, 0)).await;
    let rollout = server.folder.path().join("state/rollout");
    let place = |artifact: &Artifact| rollout.join("heads").join(artifact.digest().replace("sha256:", ""));
    std::fs::write(place(&b), "a file where the folder should be").unwrap();
    let mut watch = operator.watch().await;
    let status = operator.command(2, model(Some(b.inline(2)), None, 0)).await;
    assert_loaded(&status, &b.digest());
    assert!(!status.durable);
    let state = std::fs::read_to_string(rollout.join("state.json")).unwrap();
    assert!(state.contains(&a.digest()) && !state.contains(&b.digest()), "{state}");
    assert!(place(&a).join("head.safetensors").exists(), "what the state names must be there");
    std::fs::remove_file(place(&b)).unwrap();
    watch.until(|status| status.generation == 2 && status.durable).await;
    let folder = server.stop().await;
    let (server, _hand) = Server::start_in(folder, headless).await;
    let status = Operator::of(&server).await.status().await;
    assert_eq!(status.generation, 2);
    assert_loaded(&status, &b.digest());
    server.stop().await;
}

/// Regression 16.
#[tokio::test]
async fn a_killed_server_comes_back_to_the_head_that_was_rolled_out() {
    let official = Official::every().remove(0);
    let artifact = artifact(&official);
    let folder = tempfile::tempdir().unwrap();
    let mut server = Program::start(&official, folder.path());
    let prompts = create("case", inline_prompts(&official));
    PromptSetServiceClient::new(server.channel("address").await).create_prompt_set(prompts).await.unwrap();
    let mut operator = Operator::at(server.address("rollout-address")).await;
    let status = operator.command(4, model(Some(artifact.inline(9)), None, 0)).await;
    assert_loaded(&status, &artifact.digest());
    let before = server.ask(&official).await;
    server.0.kill().unwrap();
    server.0.wait().unwrap();

    let server = Program::start(&official, folder.path());
    let after = server.ask(&official).await;
    assert_eq!(after.0.to_bits(), before.0.to_bits());
    assert_eq!((after.1.as_str(), after.2), (artifact.digest().as_str(), 9));
    let status = Operator::at(server.address("rollout-address")).await.status().await;
    assert_eq!((status.epoch, status.generation), (1, 4));
    assert_eq!(head(&status, &artifact.digest()).request_count, 1, "counts are of this process");
}

/// `inctrl-server` without a head of its own; killed when dropped.
struct Program(Child, std::path::PathBuf);

impl Program {
    /// Started, with its backbone and what it had loaded.
    fn start(official: &Official, folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_inctrl-server"));
        command
            .args([
                "serve",
                "--device",
                "cpu",
                "--precision",
                "fp32",
                "--threads",
                "1",
                "--rollout-plaintext",
            ])
            .args([
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--rollout-listen",
                "127.0.0.1:0",
            ])
            .arg("--backbone")
            .arg(official.backbone.path())
            .arg("--state-dir")
            .arg(folder.join("state"))
            .arg("--address-file")
            .arg(folder.join("address"))
            .arg("--rollout-address-file")
            .arg(folder.join("rollout-address"))
            .env_remove("INCTRL_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let _ = std::fs::remove_file(folder.join("address"));
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let server = Self(child, folder.to_owned());
        // Said once it is started; the files are written right after, the one of the data port last.
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening on "), "{line:?}");
        while !folder.join("address").exists() {
            std::thread::yield_now();
        }
        server
    }

    fn address(&self, file: &str) -> std::net::SocketAddr {
        std::fs::read_to_string(self.1.join(file)).unwrap().trim().parse().unwrap()
    }

    async fn channel(&self, file: &str) -> Channel {
        Channel::from_shared(format!("http://{}", self.address(file))).unwrap().connect().await.unwrap()
    }

    /// Score, digest and number of the head that answers.
    async fn ask(&self, official: &Official) -> (f32, String, i64) {
        let mut detector = AnomalyDetectionServiceClient::new(self.channel("address").await);
        let answer = detector.detect_anomaly(against("case", query(official))).await.unwrap().into_inner();
        let provenance = answer.provenance.unwrap();
        (answer.score, provenance.revision, provenance.revision_number)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended is no error.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
