//! Queries of many callers: kept apart, put together, refused, dropped.

use std::sync::Arc;

use futures::future::join_all;
use inctrl_proto::v1::batch_detect_anomalies_request::Prompts;
use inctrl_proto::v1::detect_anomaly_request::Prompts as OnePrompts;
use inctrl_proto::v1::{
    AnomalyMapMode, BatchDetectAnomaliesRequest, Decision, DetectAnomalyRequest, DetectOptions,
};
use inctrl_server::config::Settings;
use inctrl_server::scorer::{ScorerError, Work};
use jiff::SignedDuration;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::stage::{Server, against, grey, inline, reason};

#[tokio::test]
async fn every_caller_gets_the_score_of_its_own_image() {
    let (server, hand) = Server::start().await;
    server.create("nut").await;
    let detector = server.detector().await;
    hand.hold();
    let calls = (0..40_u8).map(|value| {
        let mut detector = detector.clone();
        tokio::spawn(async move { detector.detect_anomaly(against("nut", grey(value))).await })
    });
    let calls: Vec<_> = calls.collect();
    hand.until(|seen| seen.batches.len() == 1).await;
    hand.let_all_go();
    for (value, call) in join_all(calls).await.into_iter().enumerate() {
        let answer = call.unwrap().unwrap().into_inner();
        assert!((answer.score - value as f32 / 255.0).abs() < 1e-6, "image {value} got {}", answer.score);
        assert!((1..=4).contains(&answer.timing.unwrap().batch_size));
    }
    let batches = hand.seen().batches;
    assert_eq!(batches.iter().sum::<usize>(), 40, "no query is computed twice");
    assert!(batches.iter().all(|&size| size <= 4), "{batches:?}");
    assert!(batches.len() < 40, "who waits together must travel together: {batches:?}");
}

#[tokio::test]
async fn a_batch_request_is_answered_in_the_order_of_its_images() {
    let (server, _hand) = Server::start().await;
    server.create("nut").await;
    let answer =
        server.detector().await.batch_detect_anomalies(batch(&[30, 10, 20])).await.unwrap().into_inner();
    let scores: Vec<f32> = answer.results.iter().map(|result| (result.score * 255.0).round()).collect();
    assert_eq!(scores, [30.0, 10.0, 20.0]);
}

#[tokio::test]
async fn an_answer_says_what_was_decided_where_and_by_what() {
    let (server, _hand) = Server::start().await;
    let set = server.create("nut").await;
    let ask = |threshold, mode: AnomalyMapMode| DetectAnomalyRequest {
        options: Some(DetectOptions {
            model: "models/default".to_owned(),
            threshold,
            anomaly_map_mode: mode.into(),
            ..DetectOptions::default()
        }),
        ..against("nut", grey(51))
    };
    let mut detector = server.detector().await;
    let mut detect = async |request| detector.detect_anomaly(request).await.unwrap().into_inner();
    let plain = detect(ask(None, AnomalyMapMode::Unspecified)).await;
    assert_eq!((plain.decision(), plain.anomaly_map), (Decision::Uncalibrated, None));
    let normal = detect(ask(Some(0.3), AnomalyMapMode::PatchGrid)).await;
    assert_eq!((normal.decision(), normal.threshold), (Decision::Normal, Some(0.3)));
    let map = normal.anomaly_map.unwrap();
    assert_eq!((map.width, map.height, map.values.len()), (2, 2, 16));
    let anomalous = detect(ask(Some(0.1), AnomalyMapMode::ImageSize)).await;
    assert_eq!(anomalous.decision(), Decision::Anomalous);
    let map = anomalous.anomaly_map.unwrap();
    assert_eq!((map.width, map.height, map.values.len()), (8, 8, 256));
    let provenance = anomalous.provenance.unwrap();
    assert_eq!(provenance.prompt_digest, set.content_digest);
    let revision = inctrl_storage::Digest::of("of-the-fake").to_string();
    assert_eq!((provenance.model.as_str(), provenance.revision), ("models/default", revision));
    assert!(anomalous.timing.unwrap().is_prompt_cache_hit, "creating a prompt set encodes it");
}

#[tokio::test]
async fn a_full_queue_is_told_at_once_with_the_time_to_come_back() {
    let (server, hand) = Server::start_with(|settings| {
        settings.limits.max_batch_images = 4;
        settings.limits.max_queued_images = 4;
    })
    .await;
    server.create("nut").await;
    let detector = server.detector().await;
    hand.hold();
    // One request is computed, one waits in the channel to the scorer, one in the queue.
    let mut placed = JoinSet::new();
    for number in 1..=3 {
        let mut detector = detector.clone();
        placed.spawn(async move { detector.batch_detect_anomalies(batch(&[1, 2, 3, 4])).await });
        // It looks for its prompt set once it has its places.
        metric(&server, &format!("inctrl_prompt_cache_requests_total{{result=\"hit\"}} {number}")).await;
        if number < 3 {
            metric(&server, "inctrl_queue_length 0").await;
        }
    }
    for _ in 0..4 {
        let refused = detector.clone().batch_detect_anomalies(batch(&[1, 2, 3, 4])).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "QUEUE_FULL"));
        assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
        assert!(refused.metadata().contains_key("grpc-retry-pushback-ms"));
    }
    hand.let_all_go();
    for answer in placed.join_all().await {
        assert_eq!(answer.unwrap().into_inner().results.len(), 4, "who had a place must be answered");
    }
    assert_eq!(hand.seen().batches, [4; 3]);
}

#[tokio::test]
async fn a_departed_caller_costs_no_compute() {
    let (server, hand) = Server::start_with(|settings| settings.batching.max_size = 1).await;
    server.create("nut").await;
    let detector = server.detector().await;
    hand.hold();
    let call = |value| {
        let mut detector = detector.clone();
        tokio::spawn(async move { detector.detect_anomaly(against("nut", grey(value))).await })
    };
    let first = call(1);
    hand.until(|seen| seen.batches.len() == 1).await;
    let departing = call(2);
    metric(&server, "inctrl_inflight_requests 2").await;
    departing.abort();
    metric(&server, "inctrl_inflight_requests 1").await;
    hand.let_all_go();
    first.await.unwrap().unwrap();
    call(3).await.unwrap().unwrap();
    assert_eq!(hand.seen().batches, [1, 1], "the departed caller's image must not be computed");
}

#[tokio::test]
async fn features_are_computed_once_for_all_who_ask_together() {
    let (server, hand) = Server::start().await;
    let detector = server.detector().await;
    let together = Arc::new(Barrier::new(8));
    let calls = (0..8).map(|_| {
        let (mut detector, together) = (detector.clone(), Arc::clone(&together));
        tokio::spawn(async move {
            together.wait().await;
            let prompts = Some(OnePrompts::InlinePrompts(inline(&[1, 2])));
            let request = DetectAnomalyRequest { image: Some(grey(9)), prompts, options: None };
            detector.detect_anomaly(request).await.unwrap().into_inner()
        })
    });
    let answers = join_all(calls.collect::<Vec<_>>()).await;
    let misses = answers.iter().filter(|answer| {
        let timing = answer.as_ref().unwrap().timing.unwrap();
        !timing.is_prompt_cache_hit
    });
    assert_eq!((hand.seen().encoded, misses.count()), (1, 1));
}

#[tokio::test]
async fn a_panic_of_the_scorer_fails_its_batch_alone() {
    let (server, hand) = Server::start().await;
    server.create("nut").await;
    let mut detector = server.detector().await;
    hand.panic_next();
    let failed = detector.detect_anomaly(against("nut", grey(1))).await.unwrap_err();
    assert_eq!((failed.code(), reason(&failed).as_str()), (Code::Internal, "SCORER_PANICKED"));
    detector.detect_anomaly(against("nut", grey(1))).await.unwrap();
}

#[tokio::test]
async fn a_batch_that_does_not_fit_is_halved_once() {
    // The device waits for company until its batch is full: the four images of the request are one.
    let patient = |settings: &mut Settings| settings.batching.max_wait = SignedDuration::from_secs(60);
    let (server, hand) = Server::start_with(patient).await;
    server.create("nut").await;
    hand.fail_next(ScorerError::OutOfMemory { work: Work::Images(4) });
    let mut detector = server.detector().await;
    let answer = detector.batch_detect_anomalies(batch(&[1, 2, 3, 4])).await.unwrap().into_inner();
    assert_eq!(answer.results.len(), 4);
    assert_eq!(hand.seen().batches, [4, 2, 2]);
}

/// Images that are scored against the prompt set `nut`.
fn batch(values: &[u8]) -> BatchDetectAnomaliesRequest {
    BatchDetectAnomaliesRequest {
        images: values.iter().map(|&value| grey(value)).collect(),
        prompts: Some(Prompts::PromptSet("promptSets/nut".to_owned())),
        options: None,
    }
}

/// Waits until the metrics have a line that begins so.
async fn metric(server: &Server, line: &str) {
    while !crate::connections::metrics(server).await.lines().any(|told| told.starts_with(line)) {
        tokio::task::yield_now().await;
    }
}
