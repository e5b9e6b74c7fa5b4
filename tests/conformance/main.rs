//! Clients that others wrote, and our own command, against the real `inctrl-server` with the starter backbone.
//!
//! The clients in Go are built on first use (`conformance/build`); without a Go toolchain their trials are skipped,
//! and without a backbone all are: each time loudly, and counted as ignored, never as passed.
#![expect(clippy::unwrap_used, reason = "what a trial cannot do must fail it")]

use std::io::Write as _;
use std::process::ExitCode;

use inctrl_tests::go_tools::{GoTools, Suite};
use libtest_mimic::{Arguments, Trial};

mod grpcurl;
mod health_probe;
mod images;
mod inctrl;
mod stage;

type Check = fn();

/// Trials that need the tools in Go.
const GO_CHECKS: [(&str, Check); 8] = [
    ("grpcurl::lists_the_services_by_reflection", grpcurl::lists_the_services_by_reflection),
    ("grpcurl::both_versions_of_reflection_answer", grpcurl::both_versions_of_reflection_answer),
    ("grpcurl::describes_methods_with_their_comments", grpcurl::describes_methods_with_their_comments),
    ("grpcurl::reads_what_the_server_is", grpcurl::reads_what_the_server_is),
    (
        "grpcurl::scores_an_image_against_a_stored_prompt_set",
        grpcurl::scores_an_image_against_a_stored_prompt_set,
    ),
    ("grpcurl::reads_the_details_of_a_refusal", grpcurl::reads_the_details_of_a_refusal),
    ("health_probe::knows_ready_live_and_unknown", health_probe::knows_ready_live_and_unknown),
    ("health_probe::sees_a_draining_server_as_not_ready", health_probe::sees_a_draining_server_as_not_ready),
];

/// Trials of our own command.
const INCTRL_CHECKS: [(&str, Check); 3] = [
    ("inctrl::a_prompt_set_lives_from_create_to_delete", inctrl::a_prompt_set_lives_from_create_to_delete),
    ("inctrl::scores_survive_a_crash_of_the_server", inctrl::scores_survive_a_crash_of_the_server),
    ("inctrl::bad_images_are_told_apart", inctrl::bad_images_are_told_apart),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let backbone = inctrl_tests::backbone::find().map(|_| ());
    let go = GoTools::are_at_hand(Suite::Conformance).map_err(|error| error.to_string());
    let trials = trials(&INCTRL_CHECKS, &backbone).chain(trials(&GO_CHECKS, &backbone.clone().and(go)));
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    stage::strike();
    conclusion.exit_code()
}

/// Trials that run where `is_possible`; else they are ignored, and the reason is told.
fn trials(
    checks: &'static [(&str, Check)],
    is_possible: &Result<(), String>,
) -> impl Iterator<Item = Trial> + use<> {
    if let Err(reason) = is_possible {
        let count = checks.len();
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: {count} conformance trials cannot run: {reason}\n");
    }
    let is_ignored = is_possible.is_err();
    checks.iter().map(move |&(name, check)| {
        let run = move || {
            check();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(is_ignored)
    })
}
