//! Each transition of training and life once, by name; those of a rollout are in `rollout_transitions`. Numbered regressions are
//! those of `docs/regressions.md`.

use serde_json::json;

use super::simulator::{Quality, World};
use super::{Action, EventReason};
use crate::controller::observation::{ArtifactView, FailureClass, JobState, Trouble};
use crate::crd::conditions::ConditionType::{
    DatasetResolved, Degraded, GatePassed, Progressing, Ready, Suspended, Trained,
};

#[test]
fn the_finalizer_comes_before_anything_else() {
    let mut world = World::new(|_| {});
    world.seen.has_finalizer = false;
    let plan = world.plan();
    assert_eq!(plan.actions, [Action::AddFinalizer]);
    assert_eq!(plan.status, world.seen.status);
}

#[test]
fn a_model_is_resolved_trained_gated_and_served() {
    let world = World::serving(|_| {});
    assert_eq!(world.condition(Ready), (true, "Serving"));
    assert_eq!(world.condition(DatasetResolved), (true, "FingerprintKnown"));
    assert_eq!(world.condition(Trained), (true, "JobComplete"));
    assert_eq!(world.condition(GatePassed), (true, "AllBoundsMet"));
    assert_eq!(world.condition(Progressing), (false, "Idle"));
    assert_eq!(world.condition(Degraded), (false, "AsExpected"));
    assert_eq!(world.condition(Suspended), (false, "NotSuspended"));
    assert_eq!(world.seen.status.phase.as_deref(), Some("Serving"));
    assert_eq!(
        world.told,
        [
            EventReason::TrainingStarted,
            EventReason::TrainingSucceeded,
            EventReason::GatePassed,
            EventReason::Promoted,
        ]
    );
}

#[test]
fn a_whole_cycle_costs_at_most_eight_status_writes() {
    let mut world =
        World::serving(|spec| spec["rollout"]["steps"] = json!([{ "weight": 100, "pauseSeconds": 60 }]));
    let before = world.writes;
    world.retrain(Quality::GOOD.with_id(2));
    world.roll_out();
    assert_eq!(world.active(), Some(2));
    assert!(world.writes - before <= 8, "{} writes", world.writes - before);
}

/// Regression 1.
#[test]
fn a_finished_run_does_not_begin_again_when_its_job_is_collected() {
    let mut world = World::serving(|_| {});
    assert!(world.seen.jobs[0].has_ttl, "a recorded outcome lets the Job go");
    let runs = world.creations();
    world.seen.jobs.clear();
    world.seen.dataset = None;
    world.seen.artifacts.clear();
    world.settle();
    assert_eq!(world.creations(), runs);
    assert_eq!(world.condition(Trained), (true, "JobComplete"));
}

/// Regression 1.
#[test]
fn a_job_may_be_collected_only_after_its_outcome_was_read_back() {
    let mut world = World::new(|_| {});
    world.settle();
    world.end_job(Ok(()));
    let read = world.plan();
    world.apply(&read);
    let record = world.plan();
    assert!(record.status.candidate.is_some());
    assert!(!record.actions.iter().any(|action| matches!(action, Action::SetJob { ttl: Some(_), .. })));
    world.apply(&record);
    let expire = world.plan();
    assert!(expire.actions.iter().any(|action| matches!(action, Action::SetJob { ttl: Some(3600), .. })));
}

/// Regression 2.
#[test]
fn what_keeps_a_pod_from_starting_is_a_condition() {
    let mut world = World::new(|_| {});
    world.settle();
    let blocked = Some(Trouble { reason: "QuotaExceeded", message: "exceeded quota".to_owned() });
    world.seen.jobs[0].state = JobState::Active { started_at: None, progress: None, blocked };
    world.settle();
    assert_eq!(world.condition(Trained), (false, "QuotaExceeded"));
    assert!(world.plan().look_again.unwrap().as_secs() <= 5, "it must be looked at again soon");
}

/// Regression 3.
#[test]
fn suspending_and_resuming_a_running_job_never_touches_its_template() {
    let mut world = World::new(|_| {});
    world.settle();
    for round in 0..50 {
        world.spec.suspend = round % 2 == 0;
        world.settle();
        assert_eq!(world.seen.jobs[0].suspended, world.spec.suspend);
    }
    assert_eq!(world.creations(), 1);
    world.end_job(Ok(()));
    world.settle();
    assert_eq!(world.condition(Trained), (true, "JobComplete"));
}

/// Regression 4.
#[test]
fn a_store_that_does_not_answer_starts_nothing() {
    let mut world = World::serving(|_| {});
    let runs = world.creations();
    world.dataset = None;
    world.wait(3601);
    world.settle();
    assert_eq!(world.condition(DatasetResolved), (false, "Unreachable"));
    assert_eq!(world.condition(Ready), (true, "Serving"));
    assert_eq!(world.creations(), runs);
    world.dataset = Some(1);
    world.wait(400);
    world.settle();
    assert_eq!(world.condition(DatasetResolved), (true, "FingerprintKnown"));
    assert_eq!(world.creations(), runs, "the same data set is no change");
}

#[test]
fn another_fingerprint_trains_again_where_asked() {
    let mut world = World::serving(|_| {});
    world.dataset = Some(2);
    world.wait(3601);
    world.settle();
    assert_eq!(world.seen.status.run.as_ref().unwrap().trigger.as_deref(), Some("DatasetChange"));
    assert!(world.told.contains(&EventReason::DatasetChanged));
    let mut still = World::serving(|spec| spec["training"]["retrainOn"] = json!(["SpecChange"]));
    let runs = still.creations();
    still.dataset = Some(2);
    still.wait(100_000);
    still.settle();
    assert_eq!(still.creations(), runs);
}

#[test]
fn a_changed_data_set_waits_for_the_rollout_but_a_changed_spec_does_not() {
    let mut world = World::serving(|_| {});
    world.retrain(Quality::GOOD.with_id(2));
    let runs = world.creations();
    world.dataset = Some(2);
    world.seen.dataset = None;
    world.settle();
    assert_eq!(world.creations(), runs, "a candidate in use is seen through");
    world.quality = Quality::GOOD.with_id(3);
    world.spec.training.hyperparameters.seed += 1;
    world.settle();
    assert_eq!(world.creations(), runs + 1);
    assert!(world.seen.status.candidate.is_none() && world.told.contains(&EventReason::Superseded));
}

#[test]
fn a_changed_spec_replaces_a_run_under_way() {
    let mut world = World::new(|_| {});
    world.settle();
    let first = world.seen.jobs[0].name.clone();
    world.spec.training.hyperparameters.seed = 1;
    world.settle();
    assert!(world.done.contains(&Action::DeleteJob { name: first }));
    assert_eq!(world.seen.jobs.len(), 1);
}

#[test]
fn a_schedule_trains_at_its_tick_and_once() {
    let mut world = World::serving(|spec| {
        spec["training"]["retrainOn"] = json!(["Schedule"]);
        spec["training"]["schedule"] = json!("0 3 * * *");
    });
    let tick = world.seen.status.next_schedule_time.unwrap();
    let runs = world.creations();
    world.now = tick;
    world.settle();
    assert_eq!(world.creations(), runs + 1);
    let run = world.seen.status.run.as_ref().unwrap();
    assert_eq!((run.trigger.as_deref(), run.nonce.clone()), (Some("Schedule"), Some(tick.to_string())));
    assert_eq!(world.seen.status.next_schedule_time.unwrap().duration_since(tick).as_hours(), 24);
    world.spec.training.schedule = Some("30 4 * * *".to_owned());
    world.settle();
    assert!(world.seen.status.next_schedule_time.unwrap().to_string().ends_with("T04:30:00Z"));
}

#[test]
fn failures_of_infrastructure_are_tried_again_ever_later_and_others_are_not() {
    let mut world = World::new(|_| {});
    world.settle();
    let mut waits = Vec::new();
    for _ in 0..4 {
        world.end_job(Err(FailureClass::Infrastructure));
        world.settle();
        let retry = world.seen.status.retry_not_before.unwrap();
        waits.push(retry.duration_since(world.now).as_secs());
        world.now = retry;
        world.settle();
    }
    assert!(waits.is_sorted() && waits[0] >= 60 && waits[0] <= 66 && waits[3] >= 480, "{waits:?}");
    assert_eq!(world.seen.status.run.as_ref().unwrap().attempt, Some(4));

    for class in
        [FailureClass::BadConfig, FailureClass::BadData, FailureClass::OutOfMemory, FailureClass::Deadline]
    {
        let mut world = World::new(|_| {});
        world.settle();
        world.end_job(Err(class));
        world.wait(1_000_000);
        world.settle();
        assert_eq!(world.creations(), 1, "{class:?} does not get better by itself");
        assert_eq!(world.condition(Trained), (false, class.reason()));
        assert_eq!(world.condition(Degraded), (true, "TrainingFailed"));
        world.spec.training.hyperparameters.seed = 5;
        world.settle();
        assert_eq!(world.creations(), 2, "a changed spec is tried after {class:?}");
    }
}

#[test]
fn a_job_that_vanished_is_judged_by_what_it_left() {
    let mut world = World::new(|_| {});
    world.settle();
    world.settle();
    world.seen.jobs.clear();
    world.settle();
    assert_eq!(world.seen.status.run.as_ref().unwrap().reason.as_deref(), Some("JobLost"));
    let mut world = World::new(|_| {});
    world.settle();
    world.end_job(Ok(()));
    world.seen.jobs.clear();
    world.settle();
    assert_eq!(world.condition(Trained), (true, "JobComplete"), "the artifact is there: the run is not lost");
}

#[test]
fn an_artifact_of_another_run_is_refused() {
    let mut world = World::new(|_| {});
    world.settle();
    world.end_job(Ok(()));
    let key = world.seen.status.run.as_ref().unwrap().key.clone().unwrap();
    let read = world.plan();
    world.apply(&read);
    let wrong: [fn(&mut ArtifactView); 4] = [
        |artifact| artifact.run_key = Some("another".to_owned()),
        |artifact| artifact.spec_hash = Some("f".repeat(64)),
        |artifact| artifact.backbone_sha256 = Some("f".repeat(64)),
        |artifact| artifact.digest = "sha256:none".to_owned(),
    ];
    let (seen, writes) = (world.seen.clone(), world.writes);
    for change in wrong {
        world.seen = seen.clone();
        change(world.seen.artifacts.get_mut(&key).unwrap().found.as_mut().unwrap());
        world.settle();
        assert_eq!(world.condition(Trained), (false, "DigestMismatch"));
        assert_eq!(world.condition(Degraded), (true, "TrainingFailed"));
        assert!(world.seen.status.candidate.is_none());
    }
    assert!(world.writes > writes);
}

#[test]
fn a_data_set_that_changed_while_it_was_trained_on_is_trained_on_as_it_is_now() {
    let mut world = World::new(|_| {});
    world.settle();
    world.dataset = Some(2);
    world.end_job(Err(FailureClass::BadData));
    world.settle();
    assert_eq!(world.condition(Trained), (false, "BadData"));
    assert_eq!(world.creations(), 1, "that it changed is not known yet");
    world.wait(3601);
    world.settle();
    assert_eq!(world.creations(), 2);
    let run = world.seen.status.run.as_ref().unwrap();
    assert_eq!(run.trigger.as_deref(), Some("DatasetChange"));
    assert_eq!(run.dataset_fingerprint, Some(format!("sha256:{:064x}", 2)));

    // A trainer that learned from what nobody told it to is no way round that, nor a reason to go on for ever.
    let mut other = World::new(|_| {});
    other.settle();
    other.end_job(Ok(()));
    let key = other.seen.status.run.as_ref().unwrap().key.clone().unwrap();
    let plan = other.plan();
    other.apply(&plan);
    let look = other.seen.artifacts.get_mut(&key).unwrap();
    look.found.as_mut().unwrap().dataset_fingerprint = format!("sha256:{:064x}", 2);
    other.settle();
    assert_eq!(other.condition(Trained), (false, "DigestMismatch"));
    assert_eq!(other.creations(), 1);
}

/// Regression 12.
#[test]
fn the_observed_generation_is_the_one_acted_on() {
    let mut world = World::serving(|_| {});
    world.seen.generation = 7;
    world.settle();
    assert_eq!(world.seen.status.observed_generation, Some(7));
    for condition in &world.seen.status.conditions {
        assert_eq!(condition.observed_generation, Some(7), "{}", condition.type_);
    }
}

/// Regression 17.
#[test]
fn a_deleted_model_is_cleaned_up_or_let_go_at_the_deadline() {
    let mut world = World::serving(|spec| spec["deletionPolicy"] = json!("Delete"));
    world.seen.deleted_at = Some(world.now);
    let plan = world.plan();
    let artifacts = Some("s3://b/a/u-1".parse().unwrap());
    assert!(plan.actions.contains(&Action::CleanUp { artifacts }));
    assert!(!plan.actions.contains(&Action::RemoveFinalizer));
    world.apply(&plan);
    let end = world.plan();
    assert!(end.actions.contains(&Action::RemoveFinalizer));
    assert_eq!(end.events[0].reason, EventReason::ArtifactsDeleted);

    let mut stuck = World::serving(|spec| spec["deletionPolicy"] = json!("Delete"));
    stuck.seen.deleted_at = Some(stuck.now);
    stuck.seen.cleanup.artifacts = Some(Err("the store does not answer".to_owned()));
    stuck.wait(119);
    assert!(!stuck.plan().actions.contains(&Action::RemoveFinalizer));
    stuck.wait(1);
    let end = stuck.plan();
    assert!(end.actions.contains(&Action::RemoveFinalizer));
    assert_eq!(end.events[0].reason, EventReason::CleanupIncomplete);
    assert!(end.events[0].note.contains("the store does not answer"));
}

/// Regression 19.
#[test]
fn a_model_made_again_under_the_same_name_finds_nothing_of_the_former() {
    let mut first = World::new(|_| {});
    first.settle();
    let mut second = World::new(|_| {});
    second.seen.uid = "u-2".to_owned();
    second.settle();
    assert_ne!(first.seen.jobs[0].name, second.seen.jobs[0].name);
}

/// Regression 6.
#[test]
fn failing_pods_of_changing_names_change_no_status() {
    let mut world = World::new(|_| {});
    world.settle();
    let writes = world.writes;
    for _ in 0..10 {
        world.wait(5);
        world.settle();
    }
    assert_eq!(world.writes, writes);
}
