//! The operator's world: a real Kubernetes control plane (etcd, API server, controllers) and a node that runs pods as
//! processes of this machine.
//!
//! The programs are built on first use by `tests/control-plane/build`; that takes minutes, once. Without a Go
//! toolchain the trials are skipped, loudly, and counted as ignored, never as passed. One control plane serves all
//! trials; each has a namespace of its own.
#![expect(clippy::unwrap_used, reason = "what a trial cannot do must fail it")]

use std::io::Write as _;
use std::pin::Pin;
use std::process::ExitCode;

use inctrl_tests::control_plane::ControlPlane;
use libtest_mimic::{Arguments, Trial};

mod crd;
mod jobs;
mod pods;
mod stage;
mod teardown;

type Check = fn() -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! checks {
    ($($module:ident::$check:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($check)), (|| Box::pin($module::$check())) as Check)),*]
    };
}

const CHECKS: &[(&str, Check)] = &checks![
    crd::cases_are_accepted_and_refused_as_they_say,
    crd::the_example_is_accepted,
    crd::every_status_field_is_read_back_as_it_was_written,
    jobs::a_job_completes_and_its_ttl_collects_it,
    jobs::an_exit_code_of_the_failure_policy_fails_the_job_at_once,
    jobs::other_exit_codes_use_up_the_back_off,
    jobs::what_an_owner_owned_goes_with_it,
    pods::a_pod_sees_its_volumes_environment_and_account,
    pods::a_deleted_pod_is_asked_to_end_before_it_is_killed,
    pods::what_a_pod_lacks_is_a_reason_to_wait,
    pods::a_failing_container_is_restarted_by_its_policy,
    pods::a_pod_is_ready_when_its_probe_says_so,
    teardown::a_killed_test_leaves_no_process_and_no_file,
];

fn main() -> ExitCode {
    if teardown::is_the_test_to_be_killed() {
        return teardown::wait_to_be_killed();
    }
    let arguments = Arguments::from_args();
    let at_hand = ControlPlane::is_at_hand();
    if let Err(reason) = &at_hand {
        let count = CHECKS.len();
        let _ = writeln!(
            std::io::stderr(),
            "\nSKIPPED: {count} trials on a control plane cannot run: {reason}\n"
        );
    }
    let trials = CHECKS.iter().map(|&(name, check)| {
        let run = move || {
            stage::block_on(check());
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(at_hand.is_err())
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    stage::strike();
    conclusion.exit_code()
}
