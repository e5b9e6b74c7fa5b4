//! What a command changes, and which commands are taken.

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use inctrl_proto::v1::server_info_service_client::ServerInfoServiceClient;
use inctrl_proto::v1::{
    GetServerInfoRequest, HeadProblem, HeadRole, HeadState, HeadStatus, Model, ModelRollout,
};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::artifact::Artifact;
use super::stage::{Operator, assert_loaded, assert_stands, headless, model, plain, score};
use crate::connections::metrics;
use crate::stage::{Server, against, grey, reason};

async fn models(server: &Server) -> Vec<Model> {
    let mut client = ServerInfoServiceClient::new(server.channel().await);
    client.get_server_info(GetServerInfoRequest {}).await.unwrap().into_inner().models
}

/// Regression 9.
#[tokio::test]
async fn commands_are_fenced_and_the_last_one_again_changes_nothing() {
    let (server, _hand) = Server::start_with(plain).await;
    let mut operator = Operator::of(&server).await;
    let [a, b] = [Artifact::fake("a", 0.1), Artifact::fake("b", 0.2)];
    let command = || vec![model(Some(a.inline(1)), None, 0)];
    let first = operator.apply((2, 5), command()).await.unwrap();
    assert_eq!((first.epoch, first.generation, first.durable), (2, 5, true));
    assert_loaded(&first, &a.digest());
    for stale in [(1, 9), (2, 4)] {
        let refused = operator.apply(stale, command()).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "STALE_EPOCH"));
    }
    let other = vec![model(Some(b.inline(2)), None, 0)];
    let refused = operator.apply((2, 5), other).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "FENCE_REUSED"));
    assert_eq!(operator.apply((2, 5), command()).await.unwrap(), first);
    assert_eq!(operator.status().await, first, "what was refused must have changed nothing");
    server.stop().await;
}

#[tokio::test]
async fn a_third_command_at_a_time_is_turned_away() {
    let (server, hand) = Server::start_with(plain).await;
    server.create("nut").await;
    hand.hold();
    let mut detector = server.detector().await;
    let held = tokio::spawn(async move { detector.detect_anomaly(against("nut", grey(1))).await });
    hand.until(|seen| seen.batches.len() == 1).await;
    let (operator, a) = (Operator::of(&server).await, Artifact::fake("a", 0.1));
    let mut commands: FuturesUnordered<_> = (0..3)
        .map(|_| {
            let (mut operator, head) = (operator.clone(), a.inline(1));
            async move { operator.apply((1, 1), vec![model(Some(head), None, 0)]).await }
        })
        .collect();
    let refused = commands.next().await.unwrap().unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "ROLLOUT_BUSY"));
    hand.let_all_go();
    held.await.unwrap().unwrap();
    while let Some(applied) = commands.next().await {
        assert_loaded(&applied.unwrap(), &a.digest());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_rolled_out_head_hides_the_configured_one_until_it_is_withdrawn() {
    let (server, _hand) = Server::start_with(plain).await;
    server.create("nut").await;
    let mut operator = Operator::of(&server).await;
    let configured = models(&server).await.remove(0);
    assert_eq!(configured.active_revision_number, 0);
    let [a, b] = [Artifact::fake("a", 0.1), Artifact::fake("b", 0.2)];
    operator.command(1, model(Some(a.inline(4)), Some(b.inline(5)), 0)).await;
    let told = models(&server).await.remove(0);
    assert_eq!((told.active_revision, told.active_revision_number), (a.digest(), 4));
    assert_eq!((told.candidate_revision, told.candidate_weight_percent), (b.digest(), 0));
    let answer = score(&server, 51).await.unwrap();
    let provenance = answer.provenance.unwrap();
    assert_eq!((provenance.revision, provenance.revision_number), (a.digest(), 4));
    assert!((answer.score - 0.3).abs() < 1e-6, "{}", answer.score);
    operator.apply((1, 2), Vec::new()).await.unwrap();
    assert_eq!(models(&server).await, [configured]);
    assert!((score(&server, 51).await.unwrap().score - 0.2).abs() < 1e-6);
    server.stop().await;
}

#[tokio::test]
async fn a_server_without_a_head_is_ready_once_one_is_rolled_out() {
    let (server, _hand) = Server::start_with(headless).await;
    server.create("nut").await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let refused = score(&server, 51).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "MODEL_HAS_NO_HEAD"));
    assert!(models(&server).await.is_empty());
    let mut operator = Operator::of(&server).await;
    let a = Artifact::fake("a", 0.1);
    let visa = ModelRollout { model: "models/visa".to_owned(), ..model(Some(a.inline(1)), None, 0) };
    operator.command(1, visa).await;
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert!((score(&server, 51).await.unwrap().score - 0.3).abs() < 1e-6, "the only model is the default");
    operator.apply((1, 2), Vec::new()).await.unwrap();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    server.stop().await;
}

#[tokio::test]
async fn a_promotion_needs_no_bytes_and_a_refused_head_leaves_the_former_in_place() {
    let (server, _hand) = Server::start_with(plain).await;
    server.create("nut").await;
    let mut operator = Operator::of(&server).await;
    let [a, b, mut c] =
        [("a", 0.1), ("b", 0.2), ("c", 0.3)].map(|(name, offset)| Artifact::fake(name, offset));
    operator.command(1, model(Some(a.inline(1)), Some(b.inline(2)), 0)).await;
    let promoted = ModelRollout { standby: Some(a.known(1)), ..model(Some(b.known(2)), None, 0) };
    let status = operator.command(2, promoted).await;
    assert_loaded(&status, &b.digest());
    assert_loaded(&status, &a.digest());
    assert!((score(&server, 51).await.unwrap().score - 0.4).abs() < 1e-6);
    c.record["selfTest"]["expected"][1] = 0.9.into();
    let status = operator.command(3, model(Some(c.inline(3)), None, 0)).await;
    assert_stands(&status, &c.digest(), HeadState::Refused, HeadProblem::SelfTest);
    assert_loaded(&status, &b.digest());
    let roles: Vec<_> = status.models[0].heads.iter().map(HeadStatus::role).collect();
    assert_eq!(roles, [HeadRole::Active, HeadRole::Active]);
    assert!((score(&server, 51).await.unwrap().score - 0.4).abs() < 1e-6);
    server.stop().await;
}

#[tokio::test]
async fn a_watch_tells_of_every_change_and_ends_with_the_server() {
    let (server, _hand) = Server::start_with(plain).await;
    let mut operator = Operator::of(&server).await;
    let mut watch = operator.watch().await;
    let first = watch.next().await.unwrap();
    assert_eq!((first.epoch, first.models.len()), (0, 0));
    let a = Artifact::fake("a", 0.1);
    operator.command(1, model(Some(a.inline(1)), None, 0)).await;
    let loaded = |status: &inctrl_proto::v1::RolloutStatus| {
        status.models.iter().flat_map(|model| &model.heads).any(|head| head.state() == HeadState::Loaded)
    };
    let told = watch.until(|status| loaded(status) && status.durable).await;
    assert_eq!(told, operator.status().await);
    let ended = tokio::spawn(async move { while watch.next().await.is_some() {} });
    server.stop().await;
    ended.await.unwrap();
}

#[tokio::test]
async fn metrics_tell_of_heads_and_shadows() {
    let (server, _hand) = Server::start_with(plain).await;
    server.create("nut").await;
    let mut operator = Operator::of(&server).await;
    let [a, b] = [Artifact::fake("a", 0.1), Artifact::fake("b", 0.25)];
    operator.command(7, model(Some(a.inline(1)), Some(b.inline(2)), 0)).await;
    score(&server, 51).await.unwrap();
    let told = metrics(&server).await;
    let (active, candidate) = (a.digest(), b.digest());
    for line in [
        "inctrl_rollout_epoch 1".to_owned(),
        "inctrl_rollout_generation 7".to_owned(),
        format!("inctrl_rollout_queries_total{{model=\"default\",revision=\"{active}\",role=\"active\"}} 1"),
        format!(
            "inctrl_rollout_errors_total{{model=\"default\",revision=\"{candidate}\",role=\"candidate\"}} 0"
        ),
        format!(
            "inctrl_rollout_head_state{{model=\"default\",revision=\"{candidate}\",role=\"candidate\",state=\"loaded\"}} 1"
        ),
        format!(
            "inctrl_shadow_images_total{{model=\"default\",active=\"{active}\",candidate=\"{candidate}\"}} 1"
        ),
    ] {
        assert!(told.contains(&line), "{line:?} must be in\n{told}");
    }
    operator.apply((1, 8), Vec::new()).await.unwrap();
    assert!(!metrics(&server).await.contains(&active), "heads that are gone leave no labels");
    server.stop().await;
}
