//! The status in the making, and what is to be told of its changes.

use super::{Context, Event, EventReason};
use crate::crd::InCTRLModelStatus;
use crate::crd::conditions::{self, ConditionStatus, ConditionType, Verdict};

/// The status in the making.
pub(super) struct Draft {
    /// As it will be written.
    pub(super) status: InCTRLModelStatus,
    /// What happened on the way.
    pub(super) events: Vec<Event>,
}

impl Draft {
    /// What was last written, for the generation now seen.
    pub(super) fn of(cx: &Context<'_>) -> Self {
        let mut status = cx.seen.status.clone();
        status.observed_generation = Some(cx.seen.generation);
        Self { status, events: Vec::new() }
    }

    /// Tells of a transition.
    pub(super) fn tell(&mut self, reason: EventReason, note: impl Into<String>) {
        self.events.push(Event { reason, note: note.into() });
    }

    /// Sets a condition.
    pub(super) fn set(
        &mut self,
        cx: &Context<'_>,
        type_: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let verdict = Verdict { status: status.into(), reason, message: message.into() };
        conditions::set(&mut self.status.conditions, type_, verdict, Some(cx.seen.generation), cx.now);
    }
}
