//! Whatever happens, in whatever order: what must never be planned.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::simulator::{Quality, World};
use super::{Action, run};
use crate::controller::observation::{FailureClass, JobState};
use crate::crd::{Approval, InCTRLModelStatus, Revision};

/// Something that happens to the world.
#[derive(Debug, Clone)]
enum Happening {
    Wait(i64),
    Serve(i64),
    JobEnds(Result<(), FailureClass>),
    JobsCollected,
    JobLost,
    DatasetBecomes(Option<u8>),
    ServerJoins(&'static str),
    ServerLeaves(&'static str),
    ServerAnswers(&'static str, bool),
    ServerRestarts(&'static str),
    NextHead(Quality),
    Seed(i64),
    Pin(Option<i64>),
    Suspend(bool),
    BreakSpec(bool),
    Approve,
    RetrainAt(u8),
    OperatorRestarts,
}

fn happening() -> impl Strategy<Value = Happening> {
    let server = || select(vec!["a", "b", "c"]);
    let failure = select(vec![
        FailureClass::BadConfig,
        FailureClass::BadData,
        FailureClass::OutOfMemory,
        FailureClass::Infrastructure,
    ]);
    let quality = (
        1_u8..5,
        select(vec![9000_i64, 8000, 9050]),
        select(vec![0_i64, 0, 100]),
        select(vec![0_i64, 0, 900]),
        prop::bool::weighted(0.1),
    );
    let quality = quality.prop_map(|(id, basis_points, errors_per_mille, drift, refused)| Quality {
        // What a head is like is part of what it is.
        id: id
            + 10 * u8::from(basis_points == 8000)
            + 20 * u8::from(errors_per_mille > 0)
            + 40 * u8::from(drift > 0)
            + 80 * u8::from(refused),
        basis_points,
        errors_per_mille,
        drift,
        refused,
    });
    prop_oneof![
        4 => select(vec![1_i64, 29, 61, 400, 4000]).prop_map(Happening::Wait),
        4 => select(vec![1_i64, 40, 500]).prop_map(Happening::Serve),
        4 => Just(Happening::JobEnds(Ok(()))),
        1 => failure.prop_map(|class| Happening::JobEnds(Err(class))),
        1 => Just(Happening::JobsCollected),
        1 => Just(Happening::JobLost),
        1 => prop::option::weighted(0.7, 1_u8..4).prop_map(Happening::DatasetBecomes),
        1 => server().prop_map(Happening::ServerJoins),
        1 => server().prop_map(Happening::ServerLeaves),
        1 => (server(), any::<bool>()).prop_map(|(name, answers)| Happening::ServerAnswers(name, answers)),
        1 => server().prop_map(Happening::ServerRestarts),
        2 => quality.prop_map(Happening::NextHead),
        1 => (0_i64..3).prop_map(Happening::Seed),
        1 => prop::option::weighted(0.4, 1_i64..6).prop_map(Happening::Pin),
        1 => any::<bool>().prop_map(Happening::Suspend),
        1 => any::<bool>().prop_map(Happening::BreakSpec),
        1 => Just(Happening::Approve),
        1 => (0_u8..3).prop_map(Happening::RetrainAt),
        1 => Just(Happening::OperatorRestarts),
    ]
}

fn happen(world: &mut World, happening: &Happening) {
    let servers = world.seen.servers.as_mut().unwrap();
    let mut spec_changed = true;
    match happening.clone() {
        Happening::Seed(seed) => world.spec.training.hyperparameters.seed = seed,
        Happening::Pin(pin) => world.spec.pinned_revision = pin,
        Happening::Suspend(suspend) => world.spec.suspend = suspend,
        Happening::BreakSpec(broken) => world.break_spec(broken),
        Happening::Approve => {
            let candidate = world.seen.status.candidate.as_ref();
            world.spec.rollout.approved_digest = candidate.and_then(|candidate| candidate.digest.clone());
        }
        other => {
            spec_changed = false;
            match other {
                Happening::Wait(seconds) => world.wait(seconds),
                Happening::Serve(requests) => world.serve(requests),
                Happening::JobEnds(how) => world.end_job(how),
                Happening::JobsCollected => world.seen.jobs.retain(|job| !job.has_ttl),
                Happening::JobLost => world.seen.jobs.clear(),
                Happening::DatasetBecomes(id) => world.dataset = id,
                Happening::ServerJoins(name) => world.add_server(name),
                Happening::ServerLeaves(name) => servers.retain(|server| server.name != name),
                Happening::ServerAnswers(name, answers) => {
                    for server in servers.iter_mut().filter(|server| server.name == name) {
                        server.report = answers.then(Default::default);
                    }
                }
                Happening::ServerRestarts(name) => {
                    for server in servers.iter_mut().filter(|server| server.name == name) {
                        server.report = server.report.is_some().then(Default::default);
                    }
                }
                Happening::NextHead(quality) => world.quality = quality,
                Happening::RetrainAt(value) => world.seen.retrain_at = Some(format!("t{value}")),
                Happening::OperatorRestarts => {
                    world.seen.dataset = None;
                    world.seen.artifacts.clear();
                }
                Happening::Seed(_)
                | Happening::Pin(_)
                | Happening::Suspend(_)
                | Happening::BreakSpec(_)
                | Happening::Approve => {}
            }
        }
    }
    world.seen.generation += i64::from(spec_changed);
}

/// Plans and acts until nothing is left to do; every plan on the way is judged.
fn settle(world: &mut World) {
    for _ in 0..24 {
        let before = world.seen.status.clone();
        let plan = world.plan();
        judge(world, &before, &plan.status, &plan.actions);
        let unwritten = plan.status != before;
        // A status that was just written is not written differently by the next look at the same world.
        let mut again = world.seen.clone();
        again.status = plan.status.clone();
        let repeated = world.plan_from(&again);
        assert_eq!(repeated.status, plan.status, "a status must not answer to itself");
        assert!(repeated.events.is_empty(), "what was told is not told again: {:?}", repeated.events);
        if plan.actions.is_empty() && !unwritten {
            return;
        }
        world.apply(&plan);
    }
    panic!("the plan must come to rest: {:#?}\n{:#?}", world.plan(), world.seen);
}

fn judge(world: &World, before: &InCTRLModelStatus, after: &InCTRLModelStatus, actions: &[Action]) {
    weight_rises_only_while_all_is_well(world, before, after);
    refused_heads_stay_refused(before, after);
    history_is_monotone(before, after);
    errors_are_no_changes(world, before, after);
    outcomes_are_final(before, after);
    active_heads_come_from_somewhere(world, before, after);
    for action in actions {
        match action {
            Action::CreateJob(intent) => {
                let current = before.run.as_ref().filter(|run| run.key.as_ref() == Some(&intent.key));
                assert!(
                    current.is_none_or(run::is_open),
                    "a run that ended must not begin again: {intent:?}"
                );
                assert!(!world.spec.suspend, "nothing begins while suspended");
            }
            Action::SetJob { name, ttl: Some(_), .. } => {
                let job = world.seen.jobs.iter().find(|job| &job.name == name).unwrap();
                assert!(!matches!(job.state, JobState::Active { .. }), "only an ended Job may be collected");
                let current = before.run.as_ref().filter(|run| run.key.as_ref() == Some(&job.run_key));
                assert!(
                    current.is_none_or(|run| !run::is_open(run)),
                    "evidence must stay until its outcome was read back: {name}"
                );
            }
            _ => {}
        }
    }
}

fn weight(status: &InCTRLModelStatus) -> i64 {
    status.canary.as_ref().map_or(0, |canary| canary.weight)
}

fn weight_rises_only_while_all_is_well(world: &World, before: &InCTRLModelStatus, after: &InCTRLModelStatus) {
    // The first step is entered from nothing; what is judged is what was seen since.
    let stepped = before.canary.as_ref().is_some_and(|canary| canary.step.is_some());
    let tried = before.candidate.as_ref().map(|candidate| candidate.revision);
    let is_tried = |row: &Option<Revision>| row.as_ref().is_some_and(|row| Some(row.revision) == tried);
    let rises = weight(after) > weight(before) && is_tried(&after.candidate);
    let promoted =
        is_tried(&after.active) && !is_tried(&before.active) && world.spec.pinned_revision.is_none();
    if stepped && (rises || promoted) {
        let digest = before.candidate.as_ref().unwrap().digest.clone().unwrap();
        let quality = world.quality_of(&digest);
        assert!(
            !quality.refused && quality.errors_per_mille == 0 && quality.drift == 0,
            "{quality:?} must not pass"
        );
    }
}

fn refused_heads_stay_refused(before: &InCTRLModelStatus, after: &InCTRLModelStatus) {
    let digest = |row: &Option<Revision>| row.as_ref().and_then(|row| row.digest.clone());
    let tried = digest(&after.candidate)
        .filter(|digest| before.candidate.as_ref().and_then(|row| row.digest.as_ref()) != Some(digest));
    if let Some(tried) = tried {
        let asked_for = after.retrained_at != before.retrained_at;
        assert!(
            asked_for || before.rejected_digest != Some(tried),
            "a refused head must not be tried unchanged"
        );
    }
}

fn history_is_monotone(before: &InCTRLModelStatus, after: &InCTRLModelStatus) {
    assert!(
        after.history.is_sorted_by(|a, b| a.revision > b.revision),
        "newest first, each once: {:?}",
        after.history
    );
    let newest = |status: &InCTRLModelStatus| {
        status.history.iter().chain(&status.active).chain(&status.candidate).map(|row| row.revision).max()
    };
    assert!(newest(after) >= newest(before), "numbers must not fall");
    let is_new = |row: &&Revision| {
        !before
            .history
            .iter()
            .chain(&before.active)
            .chain(&before.candidate)
            .any(|known| known.revision == row.revision)
    };
    for row in after.history.iter().chain(&after.active).chain(&after.candidate).filter(is_new) {
        assert!(Some(row.revision) > before.last_revision, "a number must not be given twice: {row:?}");
    }
    for row in &before.history {
        if let Some(same) = after.history.iter().find(|same| same.revision == row.revision) {
            assert_eq!(same.digest, row.digest, "a number must name one head");
        }
    }
}

fn errors_are_no_changes(world: &World, before: &InCTRLModelStatus, after: &InCTRLModelStatus) {
    if world.seen.dataset.as_ref().is_some_and(|look| look.found.is_err()) {
        assert_eq!(after.dataset, before.dataset, "a look that failed says nothing of the data set");
        let key = |status: &InCTRLModelStatus| status.run.as_ref().and_then(|run| run.key.clone());
        assert_eq!(key(after), key(before), "a look that failed must not start a run");
    }
}

fn outcomes_are_final(before: &InCTRLModelStatus, after: &InCTRLModelStatus) {
    let (Some(was), Some(is)) = (&before.run, &after.run) else { return };
    if was.key == is.key && was.nonce == is.nonce && !run::is_open(was) {
        assert_eq!(was.outcome, is.outcome, "an outcome must not change");
    }
}

fn active_heads_come_from_somewhere(world: &World, before: &InCTRLModelStatus, after: &InCTRLModelStatus) {
    let Some(active) = &after.active else {
        assert!(before.active.is_none(), "an active head must not vanish");
        return;
    };
    let mut known = before.history.iter().chain(&before.candidate).chain(&before.active);
    let from_candidate_of_this_plan = before.candidate.is_none() && before.active.is_none();
    assert!(
        known.any(|row| row.revision == active.revision && row.digest == active.digest)
            || from_candidate_of_this_plan
            || world.spec.pinned_revision == Some(active.revision),
        "only a candidate or a head of the history can become active"
    );
    let shown = world.quality_of(active.digest.as_ref().unwrap()).basis_points;
    assert!(
        shown >= 8500,
        "a head that the gate refused must never be active, but {active:?} showed {shown}"
    );
    let step = |status: &InCTRLModelStatus| status.canary.as_ref().and_then(|canary| canary.step);
    let tried = |status: &InCTRLModelStatus| status.candidate.as_ref().map(|candidate| candidate.revision);
    if let (Some(was), Some(is)) = (step(before), step(after))
        && tried(before) == tried(after)
    {
        assert!(is == was || is == was + 1, "steps come one after another: {was} then {is}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// Regression 4.
    #[test]
    fn no_order_of_happenings_leads_to_an_illegal_plan(
        manual in prop::bool::weighted(0.2),
        bake in select(vec![0_i64, 0, 120]),
        history in select(vec![1_i64, 2, 10]),
        auto_rollback in prop::bool::weighted(0.8),
        happenings in vec(happening(), 1..60),
    ) {
        let mut world = World::new(|_| {});
        world.add_server("a");
        world.spec.rollout.bake_seconds = bake;
        world.spec.rollout.auto_rollback = auto_rollback;
        world.spec.revision_history_limit = history;
        if manual {
            world.spec.rollout.approval = Approval::Manual;
        }
        settle(&mut world);
        for happening in &happenings {
            happen(&mut world, happening);
            settle(&mut world);
        }
    }

    /// Regression 6.
    #[test]
    fn an_idle_world_is_never_written_to(waits in vec(1_i64..100_000, 1..8)) {
        let mut world = World::serving(|spec| {
            spec["training"]["retrainOn"] = serde_json::json!(["SpecChange", "DatasetChange"]);
        });
        let writes = world.writes;
        for seconds in waits {
            world.wait(seconds);
            world.serve(100);
            settle(&mut world);
        }
        prop_assert_eq!(world.writes, writes);
    }
}
