//! Each transition of gate and rollout once, by name. Numbered regressions are those of `docs/regressions.md`.

use serde_json::json;

use super::simulator::{Quality, World};
use super::{Action, EventReason};
use crate::controller::observation::ServerReport;
use crate::crd::conditions::ConditionType::{Degraded, GatePassed, Progressing, Ready};

#[test]
fn a_canary_climbs_its_steps_and_never_unsets_ready() {
    let mut world = World::serving(|_| {});
    world.retrain(Quality::GOOD.with_id(2));
    let mut weights = Vec::new();
    while world.seen.status.candidate.is_some() {
        let weight = world.seen.status.canary.as_ref().unwrap().weight;
        assert_eq!(world.condition(Ready), (true, "Serving"), "at {weight}");
        weights.push(weight);
        world.serve(100);
        world.wait(61);
        world.settle();
    }
    assert_eq!(weights, [10, 50, 100]);
    assert_eq!(world.active(), Some(2));
    assert_eq!(world.condition(Ready), (true, "Serving"));
    let phases: Vec<_> = world.seen.status.history.iter().map(|row| row.phase.clone().unwrap()).collect();
    assert_eq!(phases, ["Active", "Superseded"]);
}

#[test]
fn servers_that_load_a_candidate_one_after_another_cost_no_write_each() {
    let mut world = World::serving(|_| {});
    for name in ["c", "d", "e", "f"] {
        world.add_server(name);
    }
    world.settle();
    let before = world.writes;
    world.retrain(Quality::GOOD.with_id(2));
    assert_eq!(world.seen.status.canary.as_ref().unwrap().step, Some(0));
    assert_eq!(world.seen.status.servers.unwrap().candidate, 6);
    assert_eq!(world.writes - before, 4, "a run intended, its Job, a candidate, its first step");
}

#[test]
fn a_preload_that_takes_long_says_how_many_servers_have_the_candidate() {
    let mut world = World::serving(|_| {});
    world.train(Quality::GOOD.with_id(2));
    while world.seen.status.canary.is_none() {
        let plan = world.plan();
        world.apply(&plan);
    }
    // The first has loaded it, the second has not been told yet.
    let told = |world: &World| world.plan().status.servers.unwrap().candidate;
    assert_eq!(told(&world), 0);
    world.wait(10);
    assert_eq!(told(&world), 1);
}

#[test]
fn the_first_server_alone_gets_a_candidate_that_nobody_has_tried() {
    let mut world = World::serving(|_| {});
    world.done.clear();
    world.retrain(Quality { id: 9, refused: true, ..Quality::GOOD });
    let told = world.seen.servers.as_ref().unwrap().iter().map(|server| server.name.as_str());
    assert_eq!(told.collect::<Vec<_>>(), ["a", "b"]);
    let pushed = world.done.iter().filter_map(|action| match action {
        Action::Push(desired) if desired.candidate.is_some() => Some(&desired.reach),
        _ => None,
    });
    assert!(pushed.clone().count() > 0);
    for reach in pushed {
        assert_eq!(reach, &super::Reach::Pilot("a".to_owned()));
    }
    assert_eq!(world.condition(Degraded), (true, "RolledBack"));
    assert!(world.told.contains(&EventReason::ServerLoadFailed));
}

#[test]
fn a_head_below_the_gate_reaches_no_server() {
    let mut world = World::serving(|_| {});
    world.retrain(Quality { id: 2, basis_points: 8000, ..Quality::GOOD });
    assert_eq!(world.condition(GatePassed), (false, "BelowMinimum"));
    assert_eq!(world.condition(Degraded), (true, "GateFailed"));
    assert_eq!(world.condition(Ready), (true, "Serving"));
    assert_eq!(world.active(), Some(1));
    world.retrain(Quality { id: 3, basis_points: 8890, ..Quality::GOOD });
    assert_eq!(world.condition(GatePassed), (false, "Regressed"));
}

#[test]
fn a_head_that_drifts_in_shadow_is_taken_back_at_the_first_weight() {
    let mut world = World::serving(|_| {});
    world.retrain(Quality { id: 2, drift: 900, ..Quality::GOOD });
    world.roll_out();
    assert_eq!(world.active(), Some(1));
    assert_eq!(world.condition(Degraded), (true, "RolledBack"));
    assert_eq!(world.seen.status.rejected_digest, Some(Quality::GOOD.with_id(2).digest()));
    let highest = world.done.iter().filter_map(|action| match action {
        Action::Push(desired) => Some(desired.weight),
        _ => None,
    });
    assert_eq!(highest.max(), Some(10), "weight must not rise while the analysis fails");
}

/// Regression 14.
#[test]
fn a_refused_head_is_not_tried_again_until_a_person_asks() {
    let mut world = World::serving(|_| {});
    world.retrain(Quality { id: 2, errors_per_mille: 100, ..Quality::GOOD });
    world.roll_out();
    let refused = Quality { id: 2, ..Quality::GOOD };
    world.retrain(refused);
    assert_eq!(world.condition(GatePassed), (false, "AlreadyRejected"));
    assert!(world.seen.status.candidate.is_none());
    // The way out that is no edit of the spec.
    world.seen.retrain_at = Some("2027-01-15T08:00:00Z".to_owned());
    world.settle();
    world.end_job(Ok(()));
    world.settle();
    assert!(world.seen.status.candidate.is_some(), "an explicit request must try it");
    world.seen.retrain_at.clone_from(&world.seen.status.retrained_at);
    let runs = world.creations();
    world.settle();
    assert_eq!(world.creations(), runs, "a request is acted on once");
}

/// Regression 13.
#[test]
fn a_canary_without_requests_is_extended_and_then_taken_back() {
    let mut world = World::serving(|_| {});
    world.retrain(Quality::GOOD.with_id(2));
    world.wait(600);
    world.settle();
    assert_eq!(world.seen.status.canary.as_ref().unwrap().weight, 10, "silence must not pass");
    world.wait(400);
    world.settle();
    assert!(world.seen.status.candidate.is_none());
    assert_eq!(world.seen.status.history[0].reason.as_deref(), Some("ProgressDeadlineExceeded"));
    assert_eq!(world.active(), Some(1));
}

/// Regression 13.
#[test]
fn a_candidate_that_fails_all_its_few_requests_is_taken_back_before_the_minimum() {
    let mut world = World::serving(|_| {});
    world.retrain(Quality { id: 2, errors_per_mille: 1000, ..Quality::GOOD });
    world.serve(5);
    for _ in 0..3 {
        world.wait(31);
        world.settle();
    }
    assert_eq!(world.seen.status.history[0].reason.as_deref(), Some("AnalysisFailed"));
}

#[test]
fn a_hundred_looks_at_one_bad_minute_are_one_failure() {
    let mut world = World::serving(|_| {});
    world.retrain(Quality { id: 2, errors_per_mille: 100, ..Quality::GOOD });
    world.serve(500);
    world.wait(31);
    for _ in 0..100 {
        let plan = world.plan();
        world.apply(&plan);
    }
    assert_eq!(world.seen.status.canary.as_ref().unwrap().failures, 1);
}

/// Regression 14.
#[test]
fn without_automatic_rollback_a_failing_candidate_stays_at_its_weight() {
    let mut world = World::serving(|spec| spec["rollout"]["autoRollback"] = json!(false));
    world.retrain(Quality { id: 2, errors_per_mille: 100, ..Quality::GOOD });
    for _ in 0..40 {
        world.serve(100);
        world.wait(61);
        world.settle();
    }
    assert_eq!(world.seen.status.canary.as_ref().unwrap().weight, 10);
    assert_eq!(world.condition(Degraded), (true, "AnalysisFailed"));
    assert_eq!(world.condition(Progressing), (false, "ProgressDeadlineExceeded"));
    // A changed spec is the way out.
    world.retrain(Quality::GOOD.with_id(3));
    world.roll_out();
    assert_eq!(world.condition(Degraded), (false, "AsExpected"));
}

#[test]
fn a_head_waits_for_the_approval_of_its_own_digest() {
    let mut world = World::serving(|_| {});
    world.spec.rollout.approval = crate::crd::Approval::Manual;
    world.spec.rollout.approved_digest = Some(Quality::GOOD.with_id(7).digest());
    world.retrain(Quality::GOOD.with_id(2));
    assert_eq!(world.condition(Progressing), (false, "AwaitingApproval"));
    assert!(world.told.contains(&EventReason::ApprovalNeeded));
    assert!(world.seen.status.canary.is_none(), "approving another head must not roll this one out");
    world.spec.rollout.approved_digest = Some(Quality::GOOD.with_id(2).digest());
    world.settle();
    world.roll_out();
    assert_eq!(world.active(), Some(2));
}

#[test]
fn the_time_of_a_suspension_counts_for_nothing() {
    let mut world = World::serving(|_| {});
    world.retrain(Quality::GOOD.with_id(2));
    world.spec.suspend = true;
    world.settle();
    assert_eq!(world.condition(Progressing), (false, "Suspended"));
    world.wait(100_000);
    world.serve(1000);
    world.settle();
    assert_eq!(
        world.seen.status.canary.as_ref().unwrap().weight,
        10,
        "a rollout stands still while suspended"
    );
    world.spec.suspend = false;
    world.settle();
    assert_eq!(world.seen.status.canary.as_ref().unwrap().weight, 10, "the pause begins anew");
    world.roll_out();
    assert_eq!(world.active(), Some(2));
}

/// Regression 11.
#[test]
fn ready_answers_to_what_servers_report() {
    let mut world = World::serving(|_| {});
    let report = |world: &mut World, place: usize, report: Option<ServerReport>| {
        world.seen.servers.as_mut().unwrap()[place].report = report;
    };
    report(&mut world, 0, None);
    world.settle();
    assert_eq!(world.condition(Ready), (true, "Serving"), "servers that answer all answer with the head");
    assert_eq!(world.seen.status.servers.unwrap().unreachable, 1);
    report(&mut world, 1, Some(ServerReport::default()));
    let plan = world.plan();
    let ready = crate::crd::conditions::find(&plan.status.conditions, Ready).unwrap();
    assert_eq!(ready.reason, "DigestMismatch");
    world.settle();
    assert_eq!(world.condition(Ready), (true, "Serving"), "a server that forgot is told again");
    report(&mut world, 1, None);
    world.settle();
    assert_eq!(world.condition(Ready), (false, "ServersUnavailable"));
    world.seen.servers = Some(Vec::new());
    world.settle();
    assert_eq!(world.condition(Ready), (false, "NoServersMatched"));
}

/// Regression 15.
#[test]
fn a_hundred_cycles_leave_no_more_than_one() {
    let mut world = World::serving(|spec| spec["revisionHistoryLimit"] = json!(3));
    for id in 2..102 {
        world.retrain(Quality::GOOD.with_id(id));
        world.roll_out();
        world.seen.jobs.retain(|job| !job.has_ttl);
    }
    assert_eq!(world.active(), Some(101));
    assert_eq!(world.seen.status.history.len(), 3);
    assert!(world.seen.jobs.is_empty());
    for server in world.seen.servers.iter().flatten() {
        assert_eq!(server.report.as_ref().unwrap().heads.len(), 1);
    }
}

/// Regression 14.
#[test]
fn an_unhealthy_active_head_does_not_hold_up_a_good_candidate() {
    let mut world = World::new(|_| {});
    world.add_server("a");
    world.quality = Quality { id: 1, errors_per_mille: 900, ..Quality::GOOD };
    world.settle();
    world.end_job(Ok(()));
    world.settle();
    world.serve(1000);
    world.retrain(Quality::GOOD.with_id(2));
    world.roll_out();
    assert_eq!(world.active(), Some(2));
}

/// Regression 16.
#[test]
fn state_that_servers_and_operator_lost_together_comes_back_from_the_status() {
    let mut world = World::serving(|_| {});
    world.retrain(Quality::GOOD.with_id(2));
    let status = world.seen.status.clone();
    for server in world.seen.servers.as_mut().unwrap() {
        server.report = Some(ServerReport::default());
    }
    world.seen.dataset = None;
    world.seen.artifacts.clear();
    world.settle();
    assert_eq!(world.seen.status.active, status.active);
    assert_eq!(world.seen.status.candidate, status.candidate);
    assert_eq!(world.seen.status.canary.as_ref().unwrap().weight, 10);
    for server in world.seen.servers.iter().flatten() {
        assert_eq!(server.report.as_ref().unwrap().weight, 10);
    }
}

#[test]
fn a_pin_holds_a_revision_and_lets_training_go_on() {
    let mut world = World::serving(|_| {});
    world.retrain(Quality::GOOD.with_id(2));
    world.roll_out();
    world.spec.pinned_revision = Some(1);
    world.settle();
    assert_eq!(world.active(), Some(1));
    assert_eq!(world.condition(Ready), (true, "Serving"));
    assert_eq!(world.condition(Progressing), (false, "Pinned"));
    world.retrain(Quality::GOOD.with_id(3));
    world.wait(10_000);
    world.settle();
    assert_eq!(world.active(), Some(1));
    assert_eq!(world.seen.status.candidate.as_ref().unwrap().revision, 3);
    world.spec.pinned_revision = None;
    world.settle();
    world.roll_out();
    assert_eq!(world.active(), Some(3));
    world.spec.pinned_revision = Some(99);
    world.settle();
    assert_eq!(world.condition(Degraded), (true, "RevisionMissing"));
    assert_eq!(world.active(), Some(3));
}

#[test]
fn a_pin_never_brings_a_refused_head_also_not_one_that_takes_the_pinned_number_later() {
    let mut world = World::serving(|_| {});
    world.spec.pinned_revision = Some(2);
    world.settle();
    assert_eq!(world.condition(Degraded), (true, "RevisionMissing"));
    world.retrain(Quality { basis_points: 8000, ..Quality::GOOD.with_id(2) });
    assert_eq!(world.seen.status.history[0].revision, 2, "the refused head is in the history");
    assert_eq!(world.condition(Degraded), (true, "RevisionMissing"));
    assert_eq!(world.active(), Some(1));
}

#[test]
fn a_head_that_fails_in_full_use_makes_way_for_the_former_while_it_bakes() {
    let mut world = World::serving(|spec| spec["rollout"]["bakeSeconds"] = json!(3600));
    world.retrain(Quality::GOOD.with_id(2));
    world.roll_out();
    assert_eq!(world.condition(Progressing), (true, "Baking"));
    let standby = world.seen.servers.as_ref().unwrap()[0].report.as_ref().unwrap();
    assert_eq!(standby.heads.len(), 2, "the former head stays loaded");
    for _ in 0..4 {
        for server in world.seen.servers.as_mut().unwrap() {
            for head in &mut server.report.as_mut().unwrap().heads {
                head.requests += 1000;
                head.errors += 900;
            }
        }
        world.wait(31);
        world.settle();
    }
    assert_eq!(world.active(), Some(1));
    assert_eq!(world.condition(Degraded), (true, "RolledBack"));
    assert_eq!(world.condition(Ready), (true, "Serving"));
    let mut calm = World::serving(|spec| spec["rollout"]["bakeSeconds"] = json!(3600));
    calm.retrain(Quality::GOOD.with_id(2));
    calm.roll_out();
    calm.wait(3601);
    calm.settle();
    assert!(calm.seen.status.bake.is_none());
    assert_eq!(calm.active(), Some(2));
}
