//! The life of a model: a first head trained, gated and served; a second tried beside it and promoted; a third taken back, for its
//! scores differ; the end. Whatever befalls the operator, every life comes to the same end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::LocalBoxFuture;
use inctrl_tests::interposer::{Aim, Call, Fault, Kind};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::lane::Lane;
use crate::life::Life;
use crate::model::{active, canary, is, is_over};
use crate::traffic::Traffic;
use crate::witness::{Seen, Witness, timeless};

/// What is left when all is over; equal for all lives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct End {
    /// The status before the model was deleted.
    pub(crate) status: Value,
    /// Revisions that were active, in order.
    pub(crate) active: Vec<i64>,
    /// Jobs that were made, pods that they had.
    pub(crate) made: (usize, usize),
}

/// A life that was played.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) end: End,
    /// Writes of the operator, in order.
    pub(crate) writes: Vec<Call>,
    pub(crate) took: Duration,
}

/// A moment in which a life can be disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The first run is under way.
    Training,
    /// The second head answers a share of requests.
    Canary,
}

/// Done in each moment.
pub(crate) type Disturb = fn(Moment) -> LocalBoxFuture<'static, ()>;

/// What the first life came to.
static EVER: Mutex<Option<End>> = Mutex::new(None);

/// Holds that all lives come to one end.
pub(crate) fn same_as_ever(end: &End) {
    let mut ever = EVER.lock().unwrap_or_else(PoisonError::into_inner);
    let ever = &*ever.get_or_insert_with(|| end.clone());
    assert_eq!(end, ever, "all lives must come to one end");
}

/// Plays a life in a lane; what befalls the operator's calls is by `aim`, what befalls all by `disturb`.
pub(crate) async fn live(lane: &mut Lane, aim: Aim, disturb: Option<Disturb>) -> Played {
    let name = lane.next_name();
    let began = Instant::now();
    let life = Life::new(lane, name);
    let witness = Witness::of(lane.models(), &life.name);
    lane.interposer.aim(aim);

    life.train(7, &json!({})).await;
    if let Some(disturb) = disturb {
        life.until("a run under way", |model| model["run"]["outcome"] == "Running").await;
        disturb(Moment::Training).await;
    }
    life.until("a first head", |model| active(model) == 1 && is(model, "Ready", "True", "Serving")).await;
    let traffic = Traffic::begin(life.asked());
    life.train(8, &canary()).await;
    if let Some(disturb) = disturb {
        life.until("a canary", |model| model["canary"]["weight"] == 50).await;
        disturb(Moment::Canary).await;
    }
    life.until("a second head", |model| active(model) == 2 && is(model, "Ready", "True", "Serving")).await;
    let mut strict = canary();
    strict["analysis"]["failureLimit"] = json!(0);
    strict["analysis"]["maxScoreDriftBasisPoints"] = json!(0);
    life.train(9, &strict).await;
    let last = life.until("a third head taken back", is_over).await;
    let jobs = life.jobs_when_all_may_go(3).await;

    let digests = witness.seen().digests;
    let second = BTreeSet::from([digests[&2][0].clone()]);
    // The status comes first; servers are told after it.
    life.wait("servers that answer with the second head alone", async || {
        for asked in life.asked() {
            (asked.scored().await == Ok(second.clone())).then_some(())?;
        }
        Some(())
    })
    .await;
    let answered = traffic.end().await.unwrap_or_else(|said| panic!("no request may fail:\n{said}"));
    let known: BTreeSet<String> = digests.values().flatten().cloned().collect();
    assert!(answered.is_subset(&known), "{answered:?} must be of {known:?}");
    let pods = life.pods().await;
    life.delete().await;

    let writes = lane.interposer.writes();
    let end = judge(&last, &witness.seen(), &writes, &jobs, pods);
    Played { end, writes, took: began.elapsed() }
}

/// Holds what must hold of every life.
fn judge(last: &Value, seen: &Seen, writes: &[Call], jobs: &[Job], pods: usize) -> End {
    let Seen { active, weights, digests, runs } = seen;
    for (revision, digests) in digests {
        assert_eq!(digests.len(), 1, "revision {revision} must stand for one head, not {digests:?}");
    }
    let mut made = BTreeMap::<&str, usize>::new();
    for call in writes.iter().filter(|call| call.what == "Job") {
        *made.entry(&call.name).or_default() += call.codes.iter().filter(|code| **code == 201).count();
    }
    // An answer that was lost with the API server was not counted.
    assert!(made.values().all(|times| *times <= 1), "a Job must be made once: {made:?}");
    let keys: BTreeSet<_> = jobs.iter().map(|job| job.labels().get("inctrl.dev/run")).collect();
    assert_eq!(keys.len(), jobs.len(), "a run must have one Job: {keys:?}");
    assert_eq!(runs.len(), jobs.len(), "each Job must be of a run that stood in the status: {runs:?}");
    assert_eq!(active, &[1, 2], "each head must be promoted once");
    // One who saw not every version saw the others in this order.
    let mut steps = [0, 50, 100, 0, 50, 0].iter();
    let in_order = weights.iter().all(|weight| steps.any(|step| step == weight));
    assert!(in_order, "the canary must go step by step, not {weights:?}");
    let history = last["history"].as_array().unwrap();
    let rows: Vec<_> = history
        .iter()
        .map(|row| (row["revision"].as_i64().unwrap(), row["phase"].as_str().unwrap()))
        .collect();
    assert_eq!(rows, [(3, "RolledBack"), (2, "Active"), (1, "Superseded")]);
    End { status: timeless(last), active: active.clone(), made: (made.len(), pods) }
}

/// No fault.
pub(crate) fn undisturbed() -> Aim {
    Box::new(|_, _| None)
}

/// One fault at the write of this number.
pub(crate) fn at(kind: Kind, number: usize, fault: Fault) -> Aim {
    Box::new(move |of, count| (of == kind && count == number).then_some(fault))
}
