//! What metrics show of roll-outs: read from the ledger at each scrape, so that heads that are gone leave no labels.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::board::Board;
use super::ledger::{HeadEntry, Ledger, ModelEntry, Role, Standing};

/// Shows a board; register it once.
#[derive(Debug)]
pub(crate) struct Shown(pub(crate) Arc<Board>);

#[derive(Debug, Clone, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct HeadLabels {
    model: String,
    revision: String,
    role: &'static str,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct StateLabels {
    model: String,
    revision: String,
    role: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct PairLabels {
    model: String,
    active: String,
    candidate: String,
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let ledger = self.0.ledger();
        let (epoch, generation) = ledger.desired.fence();
        gauge(&mut encoder, "inctrl_rollout_epoch", "Epoch of the last accepted command", epoch)?;
        gauge(
            &mut encoder,
            "inctrl_rollout_generation",
            "Generation of the last accepted command",
            generation,
        )?;
        heads(&mut encoder, &ledger)?;
        shadows(&mut encoder, &ledger)
    }
}

fn heads(encoder: &mut DescriptorEncoder<'_>, ledger: &Ledger) -> fmt::Result {
    let help = "Heads of rolled-out models by how far they are";
    let states = each(ledger, |model, head| {
        let HeadLabels { model, revision, role } = labels(model, head);
        Some((StateLabels { model, revision, role, state: state(head) }, ConstGauge::new(1_i64)))
    });
    family(encoder, "inctrl_rollout_head_state", help, MetricType::Gauge, states)?;
    let counts = |of: fn(&crate::revisions::CountsView) -> u64| {
        each(ledger, move |model, head| {
            let counts = head.revision()?.counts();
            Some((labels(model, head), ConstCounter::new(of(&counts))))
        })
    };
    let help = "Queries that a head answered or shadowed";
    family(encoder, "inctrl_rollout_queries", help, MetricType::Counter, counts(|counts| counts.queries))?;
    let help = "Queries that a head failed";
    family(encoder, "inctrl_rollout_errors", help, MetricType::Counter, counts(|counts| counts.errors))?;
    let weights = ledger
        .models
        .iter()
        .map(|model| (model_labels(model), ConstGauge::new(i64::from(model.effective_weight_percent()))));
    let help = "Percent of requests that the candidate answers";
    family(encoder, "inctrl_rollout_candidate_weight_percent", help, MetricType::Gauge, weights.collect())
}

fn shadows(encoder: &mut DescriptorEncoder<'_>, ledger: &Ledger) -> fmt::Result {
    let paired = ledger.models.iter().filter_map(|model| {
        let paired = model.paired.as_ref()?;
        let (active, candidate) = (paired.active().to_owned(), paired.candidate().to_owned());
        Some((PairLabels { model: model.want.name.to_string(), active, candidate }, paired.view()))
    });
    let paired: Vec<_> = paired.collect();
    let counters = |of: fn(&crate::revisions::PairedView) -> u64| {
        paired.iter().map(|(labels, view)| (labels.clone(), ConstCounter::new(of(view)))).collect()
    };
    let help = "Images that candidate and active head both scored";
    family(encoder, "inctrl_shadow_images", help, MetricType::Counter, counters(|view| view.count))?;
    let help = "Of these, images of which the decision would be another one";
    family(encoder, "inctrl_shadow_decision_flips", help, MetricType::Counter, counters(|view| view.flips))?;
    let help = "Mean distance of the scores of candidate and active head on the same images";
    let means = paired
        .iter()
        .map(|(labels, view)| (labels.clone(), ConstGauge::new(view.mean_absolute_difference)))
        .collect();
    family(encoder, "inctrl_shadow_mean_absolute_difference", help, MetricType::Gauge, means)
}

fn each<L, M>(ledger: &Ledger, shown: impl Fn(&ModelEntry, &HeadEntry) -> Option<(L, M)>) -> Vec<(L, M)> {
    let heads = ledger.models.iter().flat_map(|model| model.heads.iter().map(move |head| (model, head)));
    heads.filter_map(|(model, head)| shown(model, head)).collect()
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn family<L: EncodeLabelSet, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    metrics: Vec<(L, M)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    metrics.into_iter().try_for_each(|(labels, metric)| metric.encode(family.encode_family(&labels)?))
}

fn model_labels(model: &ModelEntry) -> ModelLabels {
    ModelLabels { model: model.want.name.to_string() }
}

fn labels(model: &ModelEntry, head: &HeadEntry) -> HeadLabels {
    let role = match head.role {
        Role::Active => "active",
        Role::Candidate => "candidate",
        Role::Standby => "standby",
    };
    HeadLabels { model: model.want.name.to_string(), revision: head.head.digest.to_string(), role }
}

fn state(head: &HeadEntry) -> &'static str {
    match &head.standing {
        Standing::Loading { .. } => "loading",
        Standing::Loaded(revision) if revision.is_usable() => "loaded",
        Standing::Loaded(_) => "disabled",
        Standing::Refused(_) => "refused",
    }
}
