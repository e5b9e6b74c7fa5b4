//! The chart: what helm makes of it, what a real API server says to that, and what the operator can do with the account that
//! the chart gives it.
//!
//! Needs helm and a control plane, which are built on first use; without a Go toolchain the trials are skipped, loudly, and
//! counted as ignored, never as passed. One control plane serves all trials; each has a namespace of its own.
#![expect(clippy::unwrap_used, reason = "what a trial cannot do must fail it")]

use std::io::Write as _;
use std::pin::Pin;
use std::process::ExitCode;

use inctrl_tests::control_plane::ControlPlane;
use inctrl_tests::go_tools::{GoTools, Suite};
use libtest_mimic::{Arguments, Trial};

mod account;
mod bad_input;
mod model;
mod release;
mod rendering;
mod stage;
mod values;

type Check = fn() -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! checks {
    ($($module:ident::$check:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($check)), (|| Box::pin($module::$check())) as Check)),*]
    };
}

const CHECKS: &[(&str, Check)] = &checks![
    values::the_linter_finds_nothing,
    values::what_means_nothing_is_refused_and_named,
    values::the_scoring_port_is_called_plain_text_only_where_it_is,
    rendering::the_api_server_accepts_every_rendering,
    rendering::every_pod_is_restricted,
    release::certificates_outlive_upgrade_and_rollback_and_the_definition_the_release,
    account::the_operator_works_with_the_charts_account,
    account::the_operator_works_with_a_role_in_one_namespace,
    bad_input::what_is_wrong_is_a_condition_within_five_seconds,
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let at_hand = GoTools::are_at_hand(Suite::Helm).and_then(|()| ControlPlane::is_at_hand());
    if let Err(reason) = &at_hand {
        let count = CHECKS.len();
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: {count} trials of the chart cannot run: {reason}\n");
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
