//! A spec that cannot be acted on: it is said, once, and what is served, tried or baked goes on as ever.

use inctrl_telemetry::Chain;

use super::{Context, Draft, EventReason};
use crate::crd::conditions::{self, ConditionType};

/// Reason of the conditions of such a model.
pub(super) const REASON: &str = "InvalidSpec";

/// Says what is wrong with the spec.
pub(super) fn note(cx: &Context<'_>, draft: &mut Draft) {
    let Some(problem) = cx.problem else { return };
    let said = |draft: &Draft| {
        let found = conditions::find(&draft.status.conditions, ConditionType::Degraded);
        found.map(|condition| (condition.reason.clone(), condition.message.clone()))
    };
    let before = said(draft);
    let message = Chain(problem).to_string();
    draft.set(cx, ConditionType::Degraded, true, REASON, message.clone());
    if said(draft) != before {
        draft.tell(EventReason::InvalidSpec, message);
    }
}
