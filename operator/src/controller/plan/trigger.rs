//! Whether a run is wanted, and why. The newest wish wins; what runs or rolls out is given up only for a changed spec.

use jiff::Timestamp;

use super::{Context, Draft, EventReason, dataset, history, limits, run};
use crate::controller::keys;
use crate::crd::{InCTRLModelStatus, RetrainTrigger, Run};

/// Why a run is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    why: Why,
    /// The schedule's tick or the annotation's value; distinguishes runs of the same inputs.
    nonce: String,
    attempt: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Manual,
    SpecChange,
    DatasetChange,
    Schedule,
    Retry,
}

/// Starts a run where one is wanted and may begin.
pub(super) fn advance(cx: &Context<'_>, draft: &mut Draft) {
    keep_next_tick(cx, draft);
    let Some(wish) = wanted(cx, &draft.status) else { return };
    if !may_begin(cx, &draft.status, wish.why) || !dataset::is_fresh(cx) {
        return;
    }
    let known = draft.status.dataset.as_ref().and_then(|dataset| dataset.fingerprint.clone());
    if let Some(fingerprint) = known {
        give_up_former(draft, wish.why);
        begin(cx, draft, &wish, fingerprint);
    }
}

/// Whether a run is wanted, if only the data set were known.
pub(super) fn is_wanted(cx: &Context<'_>, status: &InCTRLModelStatus) -> bool {
    wanted(cx, status).is_some_and(|wish| may_begin(cx, status, wish.why))
}

fn wanted(cx: &Context<'_>, status: &InCTRLModelStatus) -> Option<Wish> {
    let on = |trigger| cx.spec.training.retrain_on.contains(&trigger);
    let wish = |why, nonce: &str| Some(Wish { why, nonce: nonce.to_owned(), attempt: 0 });
    if let Some(asked) = asked(cx)
        && status.retrained_at.as_ref() != Some(&asked)
    {
        return wish(Why::Manual, &asked);
    }
    // A model without any run gets its first whatever the list says.
    let Some(last) = &status.run else { return wish(Why::SpecChange, "") };
    if on(RetrainTrigger::SpecChange) && last.spec_hash.as_deref() != Some(cx.spec_hash) {
        return wish(Why::SpecChange, "");
    }
    let fingerprint = status.dataset.as_ref().and_then(|dataset| dataset.fingerprint.as_ref());
    if on(RetrainTrigger::DatasetChange)
        && fingerprint.is_some()
        && last.dataset_fingerprint.as_ref() != fingerprint
    {
        return wish(Why::DatasetChange, "");
    }
    if on(RetrainTrigger::Schedule)
        && let Some(tick) = status.next_schedule_time.filter(|tick| *tick <= cx.now)
    {
        return wish(Why::Schedule, &tick.to_string());
    }
    let retry = status.retry_not_before.is_some_and(|time| time <= cx.now) && run::has_failed(last);
    let nonce = last.nonce.as_deref().unwrap_or_default();
    let nonce = nonce.split_once('#').map_or(nonce, |(nonce, _)| nonce);
    retry.then(|| Wish {
        why: Why::Retry,
        nonce: nonce.to_owned(),
        attempt: last.attempt.unwrap_or_default().saturating_add(1),
    })
}

/// What stands for the annotation's value.
fn asked(cx: &Context<'_>) -> Option<String> {
    cx.seen.retrain_at.as_deref().map(limits::token)
}

fn may_begin(cx: &Context<'_>, status: &InCTRLModelStatus, why: Why) -> bool {
    if cx.spec.suspend || cx.problem.is_some() {
        return false;
    }
    let replaces = why == Why::SpecChange;
    let running = status.run.as_ref().is_some_and(run::is_open);
    // A head that nobody has tried yet may be replaced by any newer one; one that answers requests is seen through.
    let rolling_out = status.candidate.is_some() && status.canary.is_some();
    replaces || !(running || rolling_out || status.bake.is_some())
}

fn give_up_former(draft: &mut Draft, why: Why) {
    if let Some(candidate) = draft.status.candidate.take() {
        draft.status.canary = None;
        let note = format!("revision {} is given up for a newer run", candidate.revision);
        history::record(&mut draft.status, candidate, history::Phase::Superseded, Some("Superseded"));
        draft.tell(EventReason::Superseded, note);
    }
    // A person who asks for a run asks for its head too, even where the same one was refused.
    if why == Why::Manual {
        draft.status.rejected_digest = None;
    }
}

fn begin(cx: &Context<'_>, draft: &mut Draft, wish: &Wish, fingerprint: String) {
    let Wish { why, nonce, attempt } = wish;
    let nonce = if *attempt > 0 { format!("{nonce}#{attempt}") } else { nonce.clone() };
    let key = keys::run_key(&cx.seen.uid, cx.spec_hash, &fingerprint, &nonce);
    let former = draft.status.run.take();
    let trigger = match why {
        Why::Manual => "Manual".to_owned(),
        Why::SpecChange => "SpecChange".to_owned(),
        Why::DatasetChange => "DatasetChange".to_owned(),
        Why::Schedule => "Schedule".to_owned(),
        Why::Retry => former.and_then(|run| run.trigger).unwrap_or_else(|| "SpecChange".to_owned()),
    };
    draft.tell(EventReason::TrainingStarted, format!("training begins: {trigger}"));
    draft.status.run = Some(Run {
        job_name: Some(keys::job_name(&cx.seen.name, &key)),
        key: Some(key),
        trigger: Some(trigger),
        nonce: (!nonce.is_empty()).then_some(nonce),
        spec_hash: Some(cx.spec_hash.to_owned()),
        dataset_fingerprint: Some(fingerprint),
        outcome: Some(run::Outcome::Pending.as_str().to_owned()),
        reason: None,
        attempt: (*attempt > 0).then_some(*attempt),
        started_at: None,
        finished_at: None,
        progress_percent: None,
    });
    draft.status.retry_not_before = None;
    draft.status.retrained_at = asked(cx);
    // Whatever started it, a run satisfies a tick that has passed.
    if draft.status.next_schedule_time.is_some_and(|tick| tick <= cx.now) {
        draft.status.next_schedule_time = next_tick(cx, cx.now);
    }
}

fn keep_next_tick(cx: &Context<'_>, draft: &mut Draft) {
    if cx.problem.is_some() {
        return;
    }
    let next = draft.status.next_schedule_time;
    draft.status.next_schedule_time = match (cx.schedule, next) {
        (None, _) => None,
        (Some(schedule), Some(tick)) if schedule.is_tick(tick) => Some(tick),
        (Some(_), _) => next_tick(cx, cx.now),
    };
}

fn next_tick(cx: &Context<'_>, after: Timestamp) -> Option<Timestamp> {
    cx.schedule.and_then(|schedule| schedule.after(after))
}
