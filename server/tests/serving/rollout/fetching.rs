//! Heads that do not come along.

use std::sync::Arc;

use inctrl_model::{BackboneError, SelfTestError};
use inctrl_proto::v1::{Head, HeadProblem, HeadState, RolloutStatus};
use inctrl_server::config::Settings;
use inctrl_server::scorer::{ScorerError, Work};

use super::artifact::Artifact;
use super::stage::{Operator, assert_loaded, assert_stands, head, headless, model, plain, score};
use crate::stage::Server;

fn stands(status: &RolloutStatus, state: HeadState) -> bool {
    status.models.iter().flat_map(|model| &model.heads).any(|head| head.state() == state)
}

#[tokio::test]
async fn a_head_by_uri_is_fetched_whole_or_in_part() {
    let store = tempfile::tempdir().unwrap();
    let (server, _hand) = Server::start_with(headless).await;
    server.create("nut").await;
    let mut operator = Operator::of(&server).await;
    for (generation, offset) in [(1, 0.1), (2, 0.2)] {
        let artifact = Artifact::fake("by-uri", offset);
        let folder = store.path().join(generation.to_string());
        artifact.publish(&folder);
        let mut head = artifact.at(&folder, generation);
        if generation == 2 {
            // Too large to come along: its small parts do.
            head = Head { manifest: artifact.manifest(None).into(), ..head };
        }
        let mut watch = operator.watch().await;
        operator.command(generation, model(Some(head), None, 0)).await;
        let loaded = |status: &RolloutStatus| {
            status.generation == generation && stands(status, HeadState::Loaded) && status.durable
        };
        let status = watch.until(|status| loaded(status) && !stands(status, HeadState::Loading)).await;
        assert_loaded(&status, &artifact.digest());
        let score = score(&server, 51).await.unwrap().score;
        assert!((score - 0.2 - offset).abs() < 1e-6, "{score}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_cannot_be_fetched_is_tried_until_it_can() {
    let store = tempfile::tempdir().unwrap();
    let (server, _hand) = Server::start_with(plain).await;
    let mut operator = Operator::of(&server).await;
    let (artifact, folder) = (Artifact::fake("late", 0.1), store.path().join("late"));
    let mut watch = operator.watch().await;
    operator.command(1, model(Some(artifact.at(&folder, 1)), None, 0)).await;
    let told = |status: &RolloutStatus| {
        let heads = status.models.first().map(|model| &model.heads);
        heads.is_some_and(|heads| heads[0].problem() == HeadProblem::Unreachable)
    };
    let status = watch.until(told).await;
    assert_stands(&status, &artifact.digest(), HeadState::Loading, HeadProblem::Unreachable);
    assert!(head(&status, &artifact.digest()).message.contains("late"), "it must say where it looked");
    artifact.publish(&folder);
    let status = watch.until(|status| stands(status, HeadState::Loaded)).await;
    assert_loaded(&status, &artifact.digest());
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_the_device_failed_to_load_is_tried_until_it_works() {
    let broken = || ScorerError::Backbone(Arc::new(std::io::Error::other("device-side assert")));
    let of_self_test = || {
        let source = tch::TchError::Torch("device-side assert".to_owned());
        let error = BackboneError::Torch { step: "the image tower", source };
        ScorerError::SelfTest(Arc::new(SelfTestError::Backbone(error)))
    };
    for error in [broken(), of_self_test(), ScorerError::OutOfMemory { work: Work::Images(1) }] {
        let (server, hand) = Server::start_with(headless).await;
        let mut operator = Operator::of(&server).await;
        let mut watch = operator.watch().await;
        let artifact = Artifact::fake("a", 0.1);
        hand.fail_next_check(error);
        let status = operator.command(1, model(Some(artifact.inline(1)), None, 0)).await;
        assert_stands(&status, &artifact.digest(), HeadState::Loading, HeadProblem::Unreachable);
        assert!(!head(&status, &artifact.digest()).message.is_empty());
        watch.until(|status| stands(status, HeadState::Loaded) && status.durable).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_head_that_is_not_what_its_digest_says_is_refused_and_one_from_nowhere_too() {
    let store = tempfile::tempdir().unwrap();
    let (server, _hand) = Server::start_with(|settings: &mut Settings| plain(settings)).await;
    let mut operator = Operator::of(&server).await;
    let artifact = Artifact::fake("a", 0.1);
    artifact.publish(store.path());
    std::fs::write(store.path().join("head.safetensors"), "a 0.9").unwrap();
    let mut watch = operator.watch().await;
    operator.command(1, model(Some(artifact.at(store.path(), 1)), None, 0)).await;
    let status = watch.until(|status| stands(status, HeadState::Refused)).await;
    assert_stands(&status, &artifact.digest(), HeadState::Refused, HeadProblem::DigestMismatch);
    let status = operator.command(2, model(None, Some(Artifact::fake("b", 0.2).known(2)), 10)).await;
    let unknown = Artifact::fake("b", 0.2).digest();
    assert_stands(&status, &unknown, HeadState::Refused, HeadProblem::Unreachable);
    assert!(head(&status, &unknown).message.contains("no URI"));
    server.stop().await;
}
