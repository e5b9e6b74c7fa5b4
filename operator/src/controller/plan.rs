//! Third step: what is to become of a model. A function of spec, observation and time; it reads no clock and does no IO.
//!
//! One file a group of states; each moves the status draft on as far as what was observed allows, and [`plan`] repeats them
//! until nothing moves. What then has to be done follows from the draft (`actions`), never from how it came about: an operator
//! that was killed between writing the status and acting on it finds the same work again.
//!
//! ```text
//! dataset -> trigger -> run -> gate -> (approval) -> rollout: preload -> steps -> promote -> bake
//!                        |      |                               |                    |
//!                        |      +-- rejected                    +-- rolled back <----+
//!                        +-- failed -> retry, or wait for a change
//! ```

use inctrl_storage::UriError;
use jiff::{SignedDuration, Timestamp};

use super::keys;
use super::observation::Observation;
use super::validate::{InvalidSpec, ValidModel};
use crate::crd::{InCTRLModelSpec, InCTRLModelStatus};

mod actions;
mod analysis;
mod bake;
mod conditions;
mod dataset;
mod deletion;
mod desired;
mod draft;
mod event;
mod gate;
mod history;
mod invalid;
mod limits;
mod look_again;
mod pin;
mod rollout;
mod run;
pub mod schedule;
mod suspend;
mod trigger;

pub use actions::{Action, JobIntent};
pub use deletion::DEADLINE as CLEANUP_DEADLINE;
pub use desired::{Desired, HeadRef, Reach};
pub use event::{Event, EventReason};
pub use history::newest_rollback;

use draft::Draft;
use schedule::Schedule;

/// More moves than any one instant can hold: dataset, trigger, run, gate, preload, step, promotion.
const MOST_MOVES: usize = 16;

/// What is to become of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The status to write, where it differs.
    pub status: InCTRLModelStatus,
    /// What to do once it is written, in this order.
    pub actions: Vec<Action>,
    /// What to tell once it is written.
    pub events: Vec<Event>,
    /// When to look again though nothing happened.
    pub look_again: Option<SignedDuration>,
}

/// What every step of the plan reads.
#[derive(Clone, Copy)]
struct Context<'a> {
    spec: &'a InCTRLModelSpec,
    /// Hash of its training inputs.
    spec_hash: &'a str,
    /// When to train by the clock.
    schedule: Option<&'a Schedule>,
    /// Why the spec cannot be acted on. No run begins then, and the rest goes on.
    problem: Option<&'a InvalidSpec>,
    seen: &'a Observation,
    now: Timestamp,
}

/// Plans a valid model.
pub fn plan(model: &ValidModel, seen: &Observation, now: Timestamp) -> Result<Plan, UriError> {
    let ValidModel { spec, spec_hash, schedule, .. } = model;
    let now = whole(now);
    lead(&Context { spec, spec_hash, schedule: schedule.as_ref(), problem: None, seen, now })
}

/// Plans an object whose spec cannot be acted on: says so, begins no run, and sees through what is under way. What that goes
/// by (rollout, pin, suspension) the schema has checked.
pub fn plan_invalid(
    spec: &InCTRLModelSpec,
    seen: &Observation,
    problem: &InvalidSpec,
    now: Timestamp,
) -> Result<Plan, UriError> {
    let spec_hash = &keys::spec_hash(spec).unwrap_or_default();
    lead(&Context { spec, spec_hash, schedule: None, problem: Some(problem), seen, now: whole(now) })
}

/// Whole seconds: what is written is what is read back.
fn whole(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn lead(cx: &Context<'_>) -> Result<Plan, UriError> {
    if cx.seen.deleted_at.is_some() {
        return Ok(deletion::plan(cx));
    }
    if !cx.seen.has_finalizer {
        return Ok(adopt(cx.seen));
    }
    let mut draft = Draft::of(cx);
    invalid::note(cx, &mut draft);
    suspend::note(cx, &mut draft);
    for _ in 0..MOST_MOVES {
        let before = draft.status.clone();
        dataset::advance(cx, &mut draft);
        trigger::advance(cx, &mut draft);
        run::advance(cx, &mut draft);
        pin::advance(cx, &mut draft);
        rollout::advance(cx, &mut draft);
        bake::advance(cx, &mut draft);
        if draft.status == before {
            break;
        }
    }
    history::trim(&mut draft.status, cx.spec.revision_history_limit);
    conditions::derive(cx, &mut draft);
    let actions = actions::derive(cx, &draft.status)?;
    let look_again = look_again::derive(cx, &draft.status, &actions);
    let Draft { status, events } = draft;
    Ok(Plan { status, actions, events, look_again })
}

/// The finalizer comes first: nothing is made that a deletion would not find.
fn adopt(seen: &Observation) -> Plan {
    Plan {
        status: seen.status.clone(),
        actions: vec![Action::AddFinalizer],
        events: Vec::new(),
        look_again: None,
    }
}

#[cfg(test)]
mod edges;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod rollout_transitions;
#[cfg(test)]
mod simulator;
#[cfg(test)]
mod transitions;
