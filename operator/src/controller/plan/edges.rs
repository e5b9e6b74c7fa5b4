//! What is rare, and must neither stop the planner nor let a head through: text longer than the status holds, servers that take
//! their counts with them, a spec that became invalid halfway, a history of one row, times that passed without a beginning.

use jiff::Timestamp;
use serde_json::json;

use super::simulator::{Quality, World};
use super::{Action, EventReason};
use crate::controller::observation::{Look, ServerReport, Trouble};
use crate::crd::conditions::ConditionType::{DatasetResolved, Degraded, Progressing, Ready, Trained};
use crate::crd::conditions::{self, ConditionType};

/// An invalid schedule, as its author sees it.
fn problem_of(world: &World) -> String {
    conditions::find(&world.seen.status.conditions, ConditionType::Degraded).unwrap().message.clone()
}

#[test]
fn text_of_any_length_fits_the_status() {
    let mut world = World::serving(|_| {});
    world.quality = Quality::GOOD.with_id(2);
    // Each status that is applied here is held against the schema.
    world.seen.retrain_at = Some("why not? ".repeat(1000));
    world.settle();
    world.end_job(Ok(()));
    let read = world.plan();
    world.apply(&read);
    for look in world.seen.artifacts.values_mut() {
        let gate = look.found.as_mut().unwrap().gate.as_mut().unwrap();
        for end in ["a", "b"] {
            let mut metric = gate.candidate[0].clone();
            metric.name = format!("imageAUROC/{}{end}", "category ".repeat(40));
            gate.candidate.push(metric);
        }
    }
    world.settle();
    assert_eq!(world.seen.status.candidate.as_ref().unwrap().metrics.len(), 3);
    let runs = world.creations();
    let message = "<html>".repeat(20_000);
    world.seen.dataset =
        Some(Look { at: world.now, failures: 1, found: Err(Trouble { reason: "Unreachable", message }) });
    world.settle();
    assert_eq!(world.condition(DatasetResolved), (false, "Unreachable"));
    world.roll_out();
    assert_eq!((world.active(), world.creations()), (Some(2), runs), "an annotation is acted on once");
}

/// Regression 13.
#[test]
fn a_server_that_leaves_with_its_counts_leaves_no_requests_behind() {
    let mut world = World::serving(|_| {});
    world.retrain(Quality::GOOD.with_id(2));
    world.serve(300);
    world.wait(61);
    world.settle();
    assert_eq!(world.seen.status.canary.as_ref().unwrap().weight, 50);
    let gone = world.seen.servers.as_mut().unwrap().pop();
    world.settle();
    world.wait(61);
    world.settle();
    assert_eq!(world.seen.status.canary.as_ref().unwrap().weight, 50, "silence must not pass");
    // Nor has it served anything by coming back.
    world.seen.servers.as_mut().unwrap().extend(gone);
    world.settle();
    world.wait(61);
    world.settle();
    assert_eq!(world.seen.status.canary.as_ref().unwrap().weight, 50, "silence must not pass");
    world.serve(100);
    world.settle();
    assert_eq!(world.seen.status.canary.as_ref().unwrap().weight, 100);
}

#[test]
fn counts_that_fell_are_counted_on_from() {
    let mut world = World::serving(|_| {});
    world.retrain(Quality::GOOD.with_id(2));
    world.serve(300);
    world.wait(61);
    world.settle();
    for report in world.seen.servers.iter_mut().flatten().filter_map(|server| server.report.as_mut()) {
        report.heads.iter_mut().for_each(|head| head.requests = 200);
    }
    world.wait(61);
    world.settle();
    assert_eq!(
        world.seen.status.canary.as_ref().unwrap().weight,
        50,
        "what is left of the former step is none"
    );
    world.serve(100);
    world.settle();
    assert_eq!(world.seen.status.canary.as_ref().unwrap().weight, 100);
}

#[test]
fn a_spec_that_cannot_be_acted_on_is_said_once_and_serving_goes_on() {
    let mut world = World::serving(|_| {});
    let runs = world.creations();
    world.break_spec(true);
    let plan = world.plan();
    assert_eq!(plan.events.iter().map(|event| event.reason).collect::<Vec<_>>(), [EventReason::InvalidSpec]);
    assert!(plan.actions.is_empty());
    world.apply(&plan);
    assert_eq!(world.condition(Degraded), (true, "InvalidSpec"));
    assert_eq!(world.condition(Progressing), (false, "InvalidSpec"));
    assert_eq!(world.condition(Ready), (true, "Serving"));
    assert!(problem_of(&world).contains("every monday"));
    let again = world.plan();
    assert_eq!(again.status, world.seen.status);
    assert!(again.events.is_empty());
    // No run begins, whatever else is asked for; the wish is kept.
    world.spec.training.hyperparameters.seed += 1;
    world.seen.retrain_at = Some("now".to_owned());
    world.wait(100_000);
    world.settle();
    assert_eq!(world.creations(), runs);
    world.break_spec(false);
    world.settle();
    assert_eq!(world.creations(), runs + 1);
    assert_eq!(world.condition(Degraded), (false, "AsExpected"));
}

/// Regression 11.
#[test]
fn ready_does_not_lie_while_the_spec_is_invalid() {
    let mut world = World::serving(|_| {});
    world.break_spec(true);
    world.settle();
    for server in world.seen.servers.iter_mut().flatten() {
        server.report = None;
    }
    world.settle();
    assert_eq!(world.condition(Ready), (false, "ServersUnavailable"));
    assert_eq!(world.seen.status.servers.unwrap().unreachable, 2);
    for server in world.seen.servers.iter_mut().flatten() {
        server.report = Some(ServerReport::default());
    }
    world.settle();
    assert_eq!(world.condition(Ready), (true, "Serving"), "servers that forgot are told again");
}

#[test]
fn a_canary_is_taken_back_and_a_failed_run_recorded_while_the_spec_is_invalid() {
    let mut world = World::serving(|_| {});
    world.retrain(Quality { id: 2, errors_per_mille: 100, ..Quality::GOOD });
    world.break_spec(true);
    world.roll_out();
    assert_eq!(world.active(), Some(1));
    assert_eq!(world.seen.status.history[0].reason.as_deref(), Some("AnalysisFailed"));
    assert!(world.told.contains(&EventReason::RolledBack));

    let mut world = World::new(|_| {});
    world.settle();
    world.break_spec(true);
    world.settle();
    assert_eq!(world.condition(Progressing), (true, "Training"));
    world.end_job(Err(crate::controller::observation::FailureClass::BadData));
    world.settle();
    assert_eq!(world.condition(Trained), (false, "BadData"));

    // What a run left is read once the spec says from where; until then its Job stays.
    let mut world = World::new(|_| {});
    world.settle();
    world.break_spec(true);
    world.end_job(Ok(()));
    world.settle();
    assert!(world.plan().look_again.is_none_or(|wait| wait.as_secs() > 60), "nothing comes of asking often");
    assert!(!world.seen.jobs[0].has_ttl);
    world.break_spec(false);
    world.settle();
    assert_eq!(world.condition(Trained), (true, "JobComplete"));
}

#[test]
fn a_model_with_an_invalid_spec_leaves_no_artifacts_unsaid() {
    let mut world = World::serving(|spec| spec["deletionPolicy"] = json!("Delete"));
    world.break_spec(true);
    world.seen.deleted_at = Some(world.now);
    let plan = world.plan();
    let artifacts = Some("s3://b/a/u-1".parse().unwrap());
    assert!(plan.actions.contains(&Action::CleanUp { artifacts }));
    world.apply(&plan);
    assert_eq!(world.plan().events[0].reason, EventReason::ArtifactsDeleted);

    // Where they are is not known, or not to be touched.
    for uri in ["s3://b/../a", "file:///a"] {
        let mut world = World::serving(|spec| spec["deletionPolicy"] = json!("Delete"));
        world.spec.artifacts.uri = uri.to_owned();
        world.seen.deleted_at = Some(world.now);
        let plan = world.plan();
        assert!(plan.actions.contains(&Action::CleanUp { artifacts: None }), "{uri}");
        world.apply(&plan);
        let end = world.plan();
        assert!(end.actions.contains(&Action::RemoveFinalizer), "{uri}");
        assert_eq!(end.events[0].reason, EventReason::CleanupIncomplete, "{uri}");
        assert!(end.events[0].note.contains("spec.artifacts.uri"), "{}", end.events[0].note);
    }
}

#[test]
fn a_history_of_one_row_forgets_no_refusal_and_gives_no_number_twice() {
    let mut world = World::serving(|spec| spec["revisionHistoryLimit"] = json!(1));
    world.retrain(Quality { id: 2, basis_points: 8000, ..Quality::GOOD });
    assert_eq!(world.condition(Degraded), (true, "GateFailed"));
    assert_eq!(world.seen.status.history[0].revision, 2);
    world.retrain(Quality::GOOD.with_id(3));
    world.roll_out();
    assert_eq!(world.active(), Some(3));
    assert_eq!(world.seen.status.history.len(), 1);
    world.spec.pinned_revision = Some(9);
    world.retrain(Quality::GOOD.with_id(4));
    assert_eq!(world.seen.status.candidate.as_ref().unwrap().revision, 4);
    assert_eq!(world.seen.status.last_revision, Some(4));
    world.seen.status.candidate = None;
    world.retrain(Quality::GOOD.with_id(5));
    assert_eq!(world.seen.status.candidate.as_ref().unwrap().revision, 5, "number 4 was given once");
}

#[test]
fn a_time_that_passed_and_began_nothing_is_not_looked_at_each_second() {
    let mut world = World::serving(|spec| {
        spec["training"]["retrainOn"] = json!(["Schedule"]);
        spec["training"]["schedule"] = json!("0 3 * * *");
    });
    world.now = world.seen.status.next_schedule_time.unwrap();
    world.settle();
    assert_eq!(world.creations(), 2);
    // The run takes longer than a day.
    world.now = world.seen.status.next_schedule_time.unwrap();
    world.wait(60);
    world.settle();
    assert_eq!(world.creations(), 2);
    assert!(world.plan().look_again.is_none_or(|wait| wait.as_secs() >= 60), "{:?}", world.plan().look_again);
    world.spec.suspend = true;
    world.settle();
    assert_eq!(world.plan().look_again, None);
}

#[test]
fn a_job_is_looked_at_ever_more_seldom() {
    let mut world = World::new(|spec| spec["training"]["retrainOn"] = json!(["SpecChange"]));
    world.settle();
    let mut waits = Vec::new();
    for age in [1, 20, 600, 36_000] {
        world.now = Timestamp::from_second(super::simulator::EPOCH + age).unwrap();
        world.settle();
        waits.push(world.plan().look_again.unwrap().as_secs());
    }
    assert_eq!(waits, [1, 5, 60, 300]);
}
