//! What one command keeps of the one before.

use inctrl_model::HeadKind;

use super::*;
use crate::revisions::Bell;
use crate::rollout::Parts;
use crate::scorer::{Garbage, HeadInfo, HeadKey};

fn visa() -> ResourceId {
    ResourceId::parse("visa").unwrap()
}

fn head(name: &str) -> HeadRef {
    HeadRef { revision: 1, digest: Digest::of(name), uri: None }
}

fn loaded(name: &str) -> Standing {
    let info = HeadInfo { digest: Digest::of(name).to_string(), kind: HeadKind::Contextual };
    let (bell, garbage) = (Arc::new(Bell::new()), Arc::new(Garbage::default()));
    Standing::Loaded(Arc::new(Revision::new(HeadKey(0), info, bell, garbage)))
}

fn refused(parts: &Parts) -> Standing {
    let message = "the score is off".to_owned();
    Standing::Refused(Arc::new(Refused { problem: Problem::SelfTest, message, tried: parts.identity() }))
}

/// A command of one model by the names of its heads.
fn command(generation: i64, active: Option<&str>, candidate: Option<&str>, standby: Option<&str>) -> Desired {
    let model = DesiredModel {
        name: visa(),
        active: active.map(head),
        candidate: candidate.map(head),
        standby: standby.map(head),
        weight_percent: 10,
        shadow: true,
    };
    Desired { epoch: 1, generation, models: vec![model] }
}

/// The ledger after a command whose heads were all loaded.
fn after(former: &Ledger, desired: Desired) -> Ledger {
    let ledger = former.next(desired, &Given::new());
    let settle = |ledger: Ledger, name: &str| ledger.with(&visa(), Digest::of(name), &loaded(name));
    let names = ["a", "b", "c"];
    let waiting = |ledger: &Ledger, name: &str| {
        ledger.waiting().iter().any(|(_, head)| head.digest == Digest::of(name))
    };
    names.into_iter().fold(
        ledger,
        |ledger, name| {
            if waiting(&ledger, name) { settle(ledger, name) } else { ledger }
        },
    )
}

fn answering(ledger: &Ledger) -> Option<String> {
    ledger.models[0].roles().active.map(|revision| revision.digest().to_owned())
}

fn digest(name: &str) -> String {
    Digest::of(name).to_string()
}

#[test]
fn a_model_goes_on_with_the_head_it_had_until_the_next_is_loaded() {
    let first = after(&Ledger::default(), command(1, Some("a"), None, None));
    assert_eq!(answering(&first), Some(digest("a")));
    let second = first.next(command(2, Some("b"), None, None), &Given::new());
    assert_eq!(answering(&second), Some(digest("a")));
    assert_eq!(second.models[0].heads.len(), 2, "both are told of");
    assert_eq!(second.saved().held[&visa()], head("a"), "a restart must come back to it");
    let refused = second.with(&visa(), Digest::of("b"), &refused(&Parts::default()));
    assert_eq!(answering(&refused), Some(digest("a")));
    let loaded = refused.with(&visa(), Digest::of("b"), &loaded("b"));
    assert_eq!(answering(&loaded), Some(digest("b")));
    assert_eq!(loaded.models[0].heads.len(), 1, "nobody holds the former head any more");
    assert!(loaded.saved().held.is_empty());
}

#[test]
fn a_promotion_loads_nothing_and_keeps_what_was_counted() {
    let trying = after(&Ledger::default(), command(1, Some("a"), Some("b"), None));
    let counted = trying.models[0].roles().candidate.unwrap();
    let promoted = trying.next(command(2, Some("b"), None, Some("a")), &Given::new());
    assert!(promoted.waiting().is_empty());
    let roles = promoted.models[0].roles();
    assert!(Arc::ptr_eq(&roles.active.unwrap(), &counted));
    assert_eq!(roles.standby.unwrap().digest(), digest("a"));
}

#[test]
fn paired_statistics_last_as_long_as_their_pair() {
    let trying = after(&Ledger::default(), command(1, Some("a"), Some("b"), None));
    let paired = trying.models[0].paired.clone().unwrap();
    let mut heavier = command(2, Some("a"), Some("b"), None);
    heavier.models[0].weight_percent = 50;
    let heavier = trying.next(heavier, &Given::new());
    assert!(Arc::ptr_eq(&paired, heavier.models[0].paired.as_ref().unwrap()));
    let other = after(&heavier, command(3, Some("a"), Some("c"), None));
    assert_eq!(other.models[0].paired.as_ref().unwrap().candidate(), digest("c"));
    let mut unshadowed = command(4, Some("a"), Some("c"), None);
    unshadowed.models[0].shadow = false;
    assert!(other.next(unshadowed, &Given::new()).models[0].paired.is_none());
}

#[test]
fn a_refused_head_is_tried_again_only_when_it_comes_with_other_parts() {
    let parts = Parts { weights: vec![1].into(), ..Parts::default() };
    let first = Ledger::default().next(command(1, Some("a"), None, None), &Given::new());
    let first = first.with(&visa(), Digest::of("a"), &refused(&parts));
    let waits = |given: Option<&Parts>| {
        let given = given.map(|parts| (Digest::of("a"), parts.clone())).into_iter().collect();
        !first.next(command(2, Some("a"), None, None), &given).waiting().is_empty()
    };
    assert!(!waits(None) && !waits(Some(&parts)));
    assert!(waits(Some(&Parts { weights: vec![2].into(), ..Parts::default() })));
}

#[test]
fn a_candidate_that_is_not_loaded_has_no_weight() {
    let ledger = after(&Ledger::default(), command(1, Some("a"), None, None));
    let ledger = ledger.next(command(2, Some("a"), Some("b"), None), &Given::new());
    assert_eq!(ledger.models[0].effective_weight_percent(), 0);
    let ledger = ledger.with(&visa(), Digest::of("b"), &loaded("b"));
    assert_eq!(ledger.models[0].effective_weight_percent(), 10);
}

#[test]
fn a_model_that_is_not_commanded_any_more_is_gone() {
    let first = after(&Ledger::default(), command(1, Some("a"), None, None));
    let none = first.next(Desired { epoch: 1, generation: 2, models: Vec::new() }, &Given::new());
    assert!(none.models.is_empty() && none.digests().is_empty());
}

#[test]
fn a_kept_state_waits_for_all_its_heads_and_the_ones_in_their_place() {
    let first = after(&Ledger::default(), command(1, Some("a"), None, None));
    let second = first.next(command(2, Some("b"), Some("c"), None), &Given::new());
    let restored = Ledger::restored(second.saved());
    let waiting: Vec<_> = restored.waiting().into_iter().map(|(_, head)| head).collect();
    assert_eq!(waiting, [head("b"), head("c"), head("a")]);
    let restored = restored.with(&visa(), Digest::of("a"), &loaded("a"));
    assert_eq!(answering(&restored), Some(digest("a")));
}
