//! The candidate's scores beside the active head's.

use inctrl_proto::v1::{DetectAnomalyRequest, DetectOptions, PairedStatistics};

use super::artifact::Artifact;
use super::stage::{Operator, head, model, plain};
use crate::stage::{Server, against, grey};

#[tokio::test]
async fn shadow_statistics_are_those_of_the_scores_and_cost_no_pass_of_the_backbone() {
    let (server, hand) = Server::start_with(plain).await;
    server.create("nut").await;
    let mut operator = Operator::of(&server).await;
    let [a, b] = [Artifact::fake("a", 0.1), Artifact::fake("b", 0.25)];
    // Half of the answers are the candidate's: the active head shadows those.
    operator.command(1, model(Some(a.inline(1)), Some(b.inline(2)), 50)).await;
    let (mut detector, threshold) = (server.detector().await, 0.4_f32);
    let mut scores = Vec::new();
    for value in (0..=255).step_by(5) {
        let options = Some(DetectOptions { threshold: Some(threshold), ..DetectOptions::default() });
        let request = DetectAnomalyRequest { options, ..against("nut", grey(value)) };
        let answer = detector.detect_anomaly(request).await.unwrap().into_inner();
        let is_candidate = answer.provenance.unwrap().revision == b.digest();
        scores.push((f32::from(value) / 255.0, is_candidate));
    }
    let images = scores.len();
    assert!(scores.iter().any(|it| it.1) && scores.iter().any(|it| !it.1), "both must answer");
    assert_eq!(hand.seen().batches, vec![1; images], "one pass an image");
    let status = operator.status().await;
    let (active, candidate) = (head(&status, &a.digest()), head(&status, &b.digest()));
    assert_eq!((active.request_count, candidate.request_count), (images as i64, images as i64));
    assert_eq!((active.error_count, candidate.error_count), (0, 0));
    let answered = |head: &inctrl_proto::v1::HeadStatus| {
        head.latency.as_ref().unwrap().counts.iter().sum::<i64>() as usize
    };
    let by_candidate = scores.iter().filter(|it| it.1).count();
    assert_eq!((answered(active), answered(candidate)), (images - by_candidate, by_candidate));

    let flips = scores.iter().filter(|(mean, _)| (mean + 0.1 >= threshold) != (mean + 0.25 >= threshold));
    let PairedStatistics {
        active_digest,
        candidate_digest,
        count,
        mean_difference,
        mean_absolute_difference,
        difference_quantiles,
        rank_correlation,
        decision_flip_count,
    } = status.models[0].paired.clone().unwrap();
    assert_eq!((active_digest, candidate_digest, count), (a.digest(), b.digest(), images as i64));
    assert!((mean_difference - 0.15).abs() < 1e-6, "{mean_difference}");
    assert!((mean_absolute_difference - 0.15).abs() < 1e-6, "{mean_absolute_difference}");
    for quantile in difference_quantiles {
        assert!((quantile.value - 0.15).abs() < 1e-6, "{quantile:?}");
    }
    assert!((rank_correlation.unwrap() - 1.0).abs() < 1e-12, "a shift changes no rank");
    assert_eq!(decision_flip_count, flips.count() as i64);
    assert!(0 < decision_flip_count);
    server.stop().await;
}
