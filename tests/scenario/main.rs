//! The whole loop, as a platform engineer meets it: `helm install`, `kubectl apply`, and a head is trained, gated and served.
//!
//! Everything is real but the kubelet: control plane, chart, operator, trainer, servers; pods are processes of this machine.
//! Needs helm and a control plane, which are built on first use; without a Go toolchain the trials are skipped, loudly, and
//! counted as ignored, never as passed. One release serves all trials; each has a model of its own.
#![expect(clippy::unwrap_used, reason = "what a trial cannot do must fail it")]

use std::io::Write as _;
use std::pin::Pin;
use std::process::ExitCode;

use inctrl_tests::control_plane::ControlPlane;
use inctrl_tests::go_tools::{GoTools, Suite};
use libtest_mimic::{Arguments, Trial};

mod data;
mod model;
mod refusals;
mod rollout;
mod stage;

#[expect(dead_code, reason = "only the backbone folder of the shared support is used here")]
#[path = "../../model/tests/support/mod.rs"]
mod support;

type Check = fn() -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! checks {
    ($($module:ident::$check:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($check)), (|| Box::pin($module::$check())) as Check)),*]
    };
}

const CHECKS: &[(&str, Check)] = &checks![
    rollout::an_applied_model_is_trained_gated_canaried_and_promoted_without_a_failed_request,
    refusals::a_run_that_cannot_be_done_says_why_in_the_trainers_words,
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let at_hand = GoTools::are_at_hand(Suite::Helm).and_then(|()| ControlPlane::is_at_hand());
    if let Err(reason) = &at_hand {
        let count = CHECKS.len();
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: {count} trials of the loop cannot run: {reason}\n");
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
