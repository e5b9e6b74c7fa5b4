//! What is loaded and what was seen of it, as it is told.

use inctrl_proto::v1;

use crate::revisions::{BOUNDS, CountsView, Paired, PairedView};
use crate::rollout::{Board, HeadEntry, ModelEntry, Problem, Role, Standing};

pub(super) fn status(board: &Board, backbone_digest: &str) -> v1::RolloutStatus {
    let (ledger, started) = (board.ledger(), board.started());
    let (epoch, generation) = ledger.desired.fence();
    v1::RolloutStatus {
        epoch,
        generation,
        backbone_digest: backbone_digest.to_owned(),
        start_time: Some(prost_types::Timestamp {
            seconds: started.as_second(),
            nanos: started.subsec_nanosecond(),
        }),
        models: ledger.models.iter().map(model).collect(),
        durable: ledger.durable,
    }
}

fn model(model: &ModelEntry) -> v1::ModelRolloutStatus {
    v1::ModelRolloutStatus {
        model: format!("models/{}", model.want.name),
        heads: model.heads.iter().map(head).collect(),
        candidate_weight_percent: model.effective_weight_percent().into(),
        paired: model.paired.as_deref().map(paired),
    }
}

fn head(entry: &HeadEntry) -> v1::HeadStatus {
    let role = match entry.role {
        Role::Active => v1::HeadRole::Active,
        Role::Candidate => v1::HeadRole::Candidate,
        Role::Standby => v1::HeadRole::Standby,
    };
    let (state, trouble, message) = match &entry.standing {
        Standing::Loading { trouble: None } => (v1::HeadState::Loading, None, String::new()),
        Standing::Loading { trouble: Some(said) } => {
            (v1::HeadState::Loading, Some(v1::HeadProblem::Unreachable), said.clone())
        }
        Standing::Loaded(revision) => match revision.trouble() {
            None => (v1::HeadState::Loaded, None, String::new()),
            Some(said) => (v1::HeadState::Disabled, Some(v1::HeadProblem::Panic), said.to_owned()),
        },
        Standing::Refused(refused) => {
            (v1::HeadState::Refused, Some(problem(refused.problem)), refused.message.clone())
        }
    };
    let counts = entry.revision().map(|revision| revision.counts());
    let (queries, errors) = counts.as_ref().map_or((0, 0), |counts| (counts.queries, counts.errors));
    v1::HeadStatus {
        digest: entry.head.digest.to_string(),
        revision: entry.head.revision,
        role: role.into(),
        state: state.into(),
        problem: trouble.unwrap_or(v1::HeadProblem::Unspecified).into(),
        message,
        request_count: queries as i64,
        error_count: errors as i64,
        latency: counts.map(|CountsView { latency, .. }| v1::LatencyHistogram {
            upper_bounds_seconds: BOUNDS.to_vec(),
            counts: latency.into_iter().map(|count| count as i64).collect(),
        }),
    }
}

fn problem(problem: Problem) -> v1::HeadProblem {
    match problem {
        Problem::Unreachable => v1::HeadProblem::Unreachable,
        Problem::DigestMismatch => v1::HeadProblem::DigestMismatch,
        Problem::Signature => v1::HeadProblem::Signature,
        Problem::Manifest => v1::HeadProblem::Manifest,
        Problem::Shape => v1::HeadProblem::Shape,
        Problem::NotFinite => v1::HeadProblem::NotFinite,
        Problem::Backbone => v1::HeadProblem::Backbone,
        Problem::SelfTest => v1::HeadProblem::SelfTest,
        Problem::Panic => v1::HeadProblem::Panic,
    }
}

fn paired(paired: &Paired) -> v1::PairedStatistics {
    let PairedView { count, mean_difference, mean_absolute_difference, quantiles, rank_correlation, flips } =
        paired.view();
    let quantile = |(probability, value)| v1::Quantile { probability, value };
    v1::PairedStatistics {
        active_digest: paired.active().to_owned(),
        candidate_digest: paired.candidate().to_owned(),
        count: count as i64,
        mean_difference,
        mean_absolute_difference,
        difference_quantiles: quantiles.into_iter().map(quantile).collect(),
        rank_correlation,
        decision_flip_count: flips as i64,
    }
}
