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

use super::observation::Observation;
use super::validate::{InvalidSpec, ValidModel};
use crate::crd::InCTRLModelStatus;

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

use draft::Draft;

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
    model: &'a ValidModel,
    seen: &'a Observation,
    now: Timestamp,
}

/// Plans a valid model.
pub fn plan(model: &ValidModel, seen: &Observation, now: Timestamp) -> Result<Plan, UriError> {
    // Whole seconds: what is written is what is read back.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    if seen.deleted_at.is_some() {
        return Ok(deletion::plan(seen, Some(model), now));
    }
    if !seen.has_finalizer {
        return Ok(adopt(seen));
    }
    let cx = Context { model, seen, now };
    let mut draft = Draft::of(&cx);
    suspend::note(&cx, &mut draft);
    for _ in 0..MOST_MOVES {
        let before = draft.status.clone();
        dataset::advance(&cx, &mut draft);
        trigger::advance(&cx, &mut draft);
        run::advance(&cx, &mut draft);
        pin::advance(&cx, &mut draft);
        rollout::advance(&cx, &mut draft);
        bake::advance(&cx, &mut draft);
        if draft.status == before {
            break;
        }
    }
    history::trim(&mut draft.status, model.spec.revision_history_limit);
    conditions::derive(&cx, &mut draft);
    let actions = actions::derive(&cx, &draft.status)?;
    let look_again = look_again::derive(&cx, &draft.status, &actions);
    let Draft { status, events } = draft;
    Ok(Plan { status, actions, events, look_again })
}

/// Plans an object whose spec cannot be acted on: says so, and keeps serving what is served.
pub fn plan_invalid(seen: &Observation, problem: &InvalidSpec, now: Timestamp) -> Plan {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    if seen.deleted_at.is_some() {
        return deletion::plan(seen, None, now);
    }
    if !seen.has_finalizer {
        return adopt(seen);
    }
    invalid::plan(seen, problem, now)
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
mod properties;
#[cfg(test)]
mod rollout_transitions;
#[cfg(test)]
mod simulator;
#[cfg(test)]
mod transitions;
