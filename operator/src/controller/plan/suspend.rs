//! `spec.suspend`: training and rollouts stand still, servers go on.

use super::{Context, Draft, EventReason, rollout};
use crate::crd::conditions::{self, ConditionType};

/// Tells of the change, and starts the clocks anew that stood still meanwhile: the time of a suspension counts neither as
/// a step's pause nor against its deadline.
pub(super) fn note(cx: &Context<'_>, draft: &mut Draft) {
    let was = conditions::holds(&draft.status.conditions, ConditionType::Suspended);
    match (was, cx.spec.suspend) {
        (false, true) => {
            draft.tell(EventReason::Suspended, "training and rollouts stand still; servers keep answering");
        }
        (true, false) => {
            rollout::restart_clocks(cx, &mut draft.status);
            draft.tell(EventReason::Resumed, "training and rollouts go on");
        }
        (true, true) | (false, false) => {}
    }
    if was != cx.spec.suspend {
        let (reason, message) =
            if cx.spec.suspend { ("SuspendRequested", "spec.suspend is true") } else { ("NotSuspended", "") };
        draft.set(cx, ConditionType::Suspended, cx.spec.suspend, reason, message);
    }
}
