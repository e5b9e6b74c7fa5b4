//! What a server reports, as the planner sees it.

use inctrl_proto::v1::{
    HeadProblem, HeadRole, HeadState, HeadStatus, LatencyHistogram, ModelRolloutStatus, PairedStatistics,
    RolloutStatus,
};

use crate::controller::observation::{HeadView, Latency, PairedView, Role, ServerReport};

/// What a server reports of one model; a model that it does not know is reported as such.
pub(super) fn of_model(status: &RolloutStatus, model: &str) -> ServerReport {
    let name = format!("models/{model}");
    let Some(known) = status.models.iter().find(|known| known.model == name) else {
        return ServerReport::default();
    };
    let ModelRolloutStatus { model: _, heads, candidate_weight_percent, paired } = known;
    ServerReport {
        knows_model: true,
        weight: i64::from(*candidate_weight_percent),
        heads: heads.iter().filter_map(head).collect(),
        paired: paired.as_ref().map(|paired| {
            let PairedStatistics { candidate_digest, count, mean_absolute_difference, .. } = paired;
            PairedView {
                candidate: candidate_digest.clone(),
                count: *count,
                mean_absolute_difference: *mean_absolute_difference,
            }
        }),
    }
}

fn head(head: &HeadStatus) -> Option<HeadView> {
    let role = match head.role() {
        HeadRole::Active => Role::Active,
        HeadRole::Candidate => Role::Candidate,
        HeadRole::Standby => Role::Standby,
        HeadRole::Unspecified => return None,
    };
    Some(HeadView {
        digest: head.digest.clone(),
        role,
        state: head.state(),
        problem: head.problem(),
        message: head.message.clone(),
        requests: head.request_count,
        errors: head.error_count,
        latency: head.latency.as_ref().map(latency).unwrap_or_default(),
    })
}

fn latency(histogram: &LatencyHistogram) -> Latency {
    let LatencyHistogram { upper_bounds_seconds, counts } = histogram;
    Latency {
        buckets: upper_bounds_seconds.iter().copied().zip(counts.iter().copied()).collect(),
        above: counts.get(upper_bounds_seconds.len()).copied().unwrap_or(0),
    }
}

/// Digest of a head, and what it is there for, how it stands and why.
type HeadGist = (String, HeadRole, HeadState, HeadProblem);

/// What of a status decides something at once: who has which head how. Counts are looked at when their time comes.
pub(super) fn gist(status: &RolloutStatus) -> Vec<(String, i32, Vec<HeadGist>)> {
    let models = status.models.iter().map(|model| {
        let heads = model.heads.iter();
        let heads = heads.map(|head| (head.digest.clone(), head.role(), head.state(), head.problem()));
        (model.model.clone(), model.candidate_weight_percent, heads.collect())
    });
    models.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(requests: i64, state: HeadState) -> RolloutStatus {
        RolloutStatus {
            models: vec![ModelRolloutStatus {
                model: "models/visa".to_owned(),
                heads: vec![HeadStatus {
                    digest: "sha256:a".to_owned(),
                    role: HeadRole::Active.into(),
                    state: state.into(),
                    request_count: requests,
                    latency: Some(LatencyHistogram {
                        upper_bounds_seconds: vec![0.1, 1.0],
                        counts: vec![3, 2, 1],
                    }),
                    ..HeadStatus::default()
                }],
                ..ModelRolloutStatus::default()
            }],
            ..RolloutStatus::default()
        }
    }

    #[test]
    fn a_report_is_read_by_model() {
        let report = of_model(&status(6, HeadState::Loaded), "visa");
        assert!(report.knows_model && report.has_loaded(Role::Active, "sha256:a"));
        assert_eq!(report.heads[0].latency, Latency { buckets: vec![(0.1, 3), (1.0, 2)], above: 1 });
        assert!(!of_model(&status(6, HeadState::Loaded), "other").knows_model);
    }

    #[test]
    fn counts_alone_are_no_news() {
        assert_eq!(gist(&status(1, HeadState::Loaded)), gist(&status(2, HeadState::Loaded)));
        assert_ne!(gist(&status(1, HeadState::Loaded)), gist(&status(1, HeadState::Loading)));
    }
}
