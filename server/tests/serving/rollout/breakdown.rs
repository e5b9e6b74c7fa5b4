//! Heads that fail in use.

use inctrl_proto::v1::{HeadProblem, HeadState};
use tonic::Code;

use super::artifact::Artifact;
use super::stage::{Operator, assert_loaded, assert_stands, head, headless, model, plain, score};
use crate::stage::{Server, reason};

#[tokio::test]
async fn a_head_that_breaks_down_is_taken_out_and_no_request_fails() {
    for shadow in [true, false] {
        let (server, hand) = Server::start_with(plain).await;
        server.create("nut").await;
        let mut operator = Operator::of(&server).await;
        let [a, b] = [Artifact::fake("a", 0.1), Artifact::fake("b", 0.2)];
        let mut both = model(Some(a.inline(1)), Some(b.inline(2)), 100);
        both.shadow = shadow;
        operator.command(1, both).await;
        let mut watch = operator.watch().await;
        watch.next().await.unwrap();
        hand.break_head(&b.digest());
        for _ in 0..3 {
            let answer = score(&server, 51).await.unwrap();
            assert_eq!(answer.provenance.unwrap().revision, a.digest(), "the active head takes over");
            assert!((answer.score - 0.3).abs() < 1e-6);
        }
        let told = watch.next().await.unwrap();
        assert_stands(&told, &b.digest(), HeadState::Disabled, HeadProblem::Panic);
        assert_eq!(told.models[0].candidate_weight_percent, 0);
        let status = operator.status().await;
        let (active, candidate) = (head(&status, &a.digest()), head(&status, &b.digest()));
        assert_eq!((candidate.request_count, candidate.error_count), (1, 1), "it is not asked again");
        assert_eq!((active.request_count, active.error_count), (3, 0));
        assert!(candidate.message.contains("panicked"), "{}", candidate.message);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_shadow_that_breaks_down_disturbs_no_answer() {
    let (server, hand) = Server::start_with(plain).await;
    server.create("nut").await;
    let mut operator = Operator::of(&server).await;
    let [a, b] = [Artifact::fake("a", 0.1), Artifact::fake("b", 0.2)];
    operator.command(1, model(Some(a.inline(1)), Some(b.inline(2)), 0)).await;
    hand.break_head(&b.digest());
    for _ in 0..2 {
        assert!((score(&server, 51).await.unwrap().score - 0.3).abs() < 1e-6);
    }
    let status = operator.status().await;
    assert_stands(&status, &b.digest(), HeadState::Disabled, HeadProblem::Panic);
    assert_loaded(&status, &a.digest());
    assert_eq!(status.models[0].paired.as_ref().unwrap().count, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_server_outlives_its_only_head() {
    let (server, hand) = Server::start_with(headless).await;
    server.create("nut").await;
    let mut operator = Operator::of(&server).await;
    let [a, b] = [Artifact::fake("a", 0.1), Artifact::fake("b", 0.2)];
    operator.command(1, model(Some(a.inline(1)), None, 0)).await;
    hand.break_head(&a.digest());
    for expected in ["HEAD_FAILED", "MODEL_HAS_NO_HEAD"] {
        let refused = score(&server, 51).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, expected));
    }
    operator.command(2, model(Some(b.inline(2)), None, 0)).await;
    assert!((score(&server, 51).await.unwrap().score - 0.4).abs() < 1e-6);
    server.stop().await;
}
