//! Swapping heads under traffic, and who is routed where.

use std::collections::{BTreeMap, BTreeSet};

use inctrl_proto::v1::ModelRollout;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::artifact::Artifact;
use super::stage::{Operator, answered_by, assert_loaded, model, plain, score};
use crate::stage::{Server, against, grey};

#[tokio::test]
async fn a_request_in_flight_finishes_on_the_head_it_began_with() {
    let (server, hand) = Server::start_with(plain).await;
    server.create("nut").await;
    let mut operator = Operator::of(&server).await;
    let [a, b] = [Artifact::fake("a", 0.1), Artifact::fake("b", 0.2)];
    let first = ModelRollout { standby: Some(b.inline(2)), ..model(Some(a.inline(1)), None, 0) };
    operator.command(1, first).await;
    hand.hold();
    let mut detector = server.detector().await;
    let call = tokio::spawn(async move { detector.detect_anomaly(against("nut", grey(51))).await });
    hand.until(|seen| seen.batches.len() == 1).await;
    let status = operator.command(2, model(Some(b.known(2)), None, 0)).await;
    assert_loaded(&status, &b.digest());
    hand.let_all_go();
    let answer = call.await.unwrap().unwrap().into_inner();
    assert_eq!(answer.provenance.unwrap().revision, a.digest());
    assert!((answer.score - 0.3).abs() < 1e-6);
    assert_eq!(score(&server, 51).await.unwrap().provenance.unwrap().revision, b.digest());
    hand.until(|seen| seen.heads == 2).await;
    server.stop().await;
}

/// Regression 15.
#[tokio::test]
async fn swaps_under_load_fail_no_request_and_leave_no_head_behind() {
    const SWAPS: i64 = 60;
    let (server, hand) = Server::start_with(plain).await;
    server.create("nut").await;
    let mut operator = Operator::of(&server).await;
    let heads =
        [("a", 0.1), ("b", 0.2), ("c", 0.3)].map(|(name, offset)| (Artifact::fake(name, offset), offset));
    operator.command(1, model(Some(heads[0].0.inline(1)), None, 0)).await;
    let offsets: BTreeMap<String, f32> =
        heads.iter().map(|(head, offset)| (head.digest(), *offset)).collect();
    let stop = CancellationToken::new();
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        let (mut detector, stop, offsets) = (server.detector().await, stop.clone(), offsets.clone());
        callers.spawn(async move {
            let mut answered = 0;
            while !stop.is_cancelled() {
                let answer = detector.detect_anomaly(against("nut", grey(51))).await.unwrap().into_inner();
                let offset = offsets[&answer.provenance.unwrap().revision];
                assert!((answer.score - 0.2 - offset).abs() < 1e-6, "the score must be that of its head");
                answered += 1;
            }
            answered
        });
    }
    for generation in 2..2 + SWAPS {
        let (head, _) = &heads[generation as usize % heads.len()];
        let status = operator.command(generation, model(Some(head.inline(generation)), None, 0)).await;
        assert_loaded(&status, &head.digest());
    }
    stop.cancel();
    let answered: Vec<u32> = callers.join_all().await;
    assert!(answered.iter().all(|count| 0 < *count), "{answered:?}");
    score(&server, 51).await.unwrap();
    hand.until(|seen| seen.heads == 2).await;
    server.stop().await;
}

#[tokio::test]
async fn a_routing_key_meets_one_head_and_a_larger_weight_only_adds_keys() {
    let (server, _hand) = Server::start_with(plain).await;
    server.create("nut").await;
    let mut operator = Operator::of(&server).await;
    let [a, b] = [Artifact::fake("a", 0.1), Artifact::fake("b", 0.2)];
    let keys: Vec<String> = (0..60).map(|index| format!("line-{index}")).collect();
    let mut chosen: BTreeSet<&String> = BTreeSet::new();
    for (generation, weight) in [(1, 30), (2, 70)] {
        let status = operator.command(generation, model(Some(a.inline(1)), Some(b.inline(2)), weight)).await;
        assert_eq!(status.models[0].candidate_weight_percent, weight);
        let mut now = BTreeSet::new();
        for key in &keys {
            let first = answered_by(&server, key).await;
            assert_eq!(answered_by(&server, key).await, first, "{key}");
            if first == b.digest() {
                now.insert(key);
            }
        }
        assert!(chosen.is_subset(&now) && chosen.len() < now.len() && now.len() < keys.len());
        chosen = now;
    }
    server.stop().await;
}
