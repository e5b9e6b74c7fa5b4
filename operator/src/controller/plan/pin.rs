//! `spec.pinnedRevision`: the servers hold a revision of the history. Training goes on, its heads wait.

use super::{Context, Draft, EventReason, history};
use crate::crd::{InCTRLModelStatus, Revision};

/// The revision of a number that servers may hold: a head that the gate refused is none, also where the number was pinned
/// before the head was there.
fn holdable(status: &InCTRLModelStatus, pin: i64) -> Option<&Revision> {
    history::find(status, pin).filter(|row| !history::Phase::Rejected.is_of(row))
}

/// Whether the pin names no revision that servers may hold.
pub(super) fn is_missing(cx: &Context<'_>, draft: &Draft) -> bool {
    let active = draft.status.active.as_ref().map(|active| active.revision);
    let known = |pin| active == Some(pin) || holdable(&draft.status, pin).is_some();
    cx.spec.pinned_revision.is_some_and(|pin| !known(pin))
}

/// Makes the pinned revision the active one.
pub(super) fn advance(cx: &Context<'_>, draft: &mut Draft) {
    let Some(pin) = cx.spec.pinned_revision else { return };
    // What is rolling out stands back; it may go on when the pin is gone.
    draft.status.canary = None;
    if draft.status.active.as_ref().is_some_and(|active| active.revision == pin) {
        return;
    }
    let Some(mut pinned) = holdable(&draft.status, pin).cloned() else { return };
    if let Some(former) = draft.status.active.take() {
        history::record(&mut draft.status, former, history::Phase::Superseded, None);
    }
    pinned.promoted_at = Some(cx.now);
    history::record(&mut draft.status, pinned.clone(), history::Phase::Active, None);
    pinned.phase = Some(history::Phase::Active.as_str().to_owned());
    pinned.reason = None;
    draft.status.active = Some(pinned);
    draft.status.bake = None;
    draft.tell(EventReason::Pinned, format!("the servers hold revision {pin}"));
}
