//! What the operator survives: being killed at any write, being stopped past its Lease, losing the API server and etcd, and
//! an API server that answers badly. Everything is real but the kubelet: control plane, chart, operator, trainer, servers.
//!
//! The trials here are a sample of a minute or two. `INCTRL_CHAOS=whole` (`make chaos`) plays every crash alone and every storm;
//! `INCTRL_CHAOS=17,40` plays those crashes of the matrix. Needs helm and a control plane, which are built on first use; without a
//! Go toolchain the trials are skipped, loudly, and counted as ignored, never as passed.
#![expect(clippy::unwrap_used, reason = "what a trial cannot do must fail it")]

use std::io::Write as _;
use std::pin::Pin;
use std::process::ExitCode;

use inctrl_tests::control_plane::ControlPlane;
use inctrl_tests::go_tools::{GoTools, Suite};
use libtest_mimic::{Arguments, Trial};

#[path = "../scenario/data.rs"]
mod data;
mod lane;
mod leaders;
mod life;
mod matrix;
mod model;
mod operator;
mod outage;
mod play;
mod stage;
mod storms;
mod traffic;
mod witness;

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
    matrix::an_operator_that_is_killed_at_a_write_comes_to_the_same_end,
    leaders::servers_refuse_a_leader_that_was_stopped_past_its_lease,
    storms::an_api_server_that_answers_badly_delays_a_life_and_changes_nothing_of_it,
    outage::a_run_and_a_canary_outlive_the_api_server_and_serving_never_notices,
];

/// What is played: a sample, everything, or these crashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Extent {
    Sample,
    Whole,
    Crashes(Vec<usize>),
}

impl Extent {
    fn asked_for() -> Self {
        match std::env::var("INCTRL_CHAOS").as_deref() {
            Err(_) | Ok("" | "sample") => Self::Sample,
            Ok("whole") => Self::Whole,
            Ok(numbers) => {
                let number = |number: &str| number.trim().parse().expect("INCTRL_CHAOS is whole or numbers");
                Self::Crashes(numbers.split(',').map(number).collect())
            }
        }
    }
}

/// Tells a person who waits how far it is.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They share a control plane, and one takes it down.
    arguments.test_threads = Some(1);
    let at_hand = GoTools::are_at_hand(Suite::Helm).and_then(|()| ControlPlane::is_at_hand());
    if let Err(reason) = &at_hand {
        say(&format!(
            "\nSKIPPED: {} trials of what the operator survives cannot run: {reason}\n",
            CHECKS.len()
        ));
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
