//! `inctrl-trainer run` from the outside, as the operator's Job runs it: exit codes, last words, the artifact.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made fails its test")]

mod artifact;
mod refusals;
mod setting;
mod stopping;

#[expect(dead_code, reason = "only the drawn images are used here")]
#[path = "../evaluation/fixture.rs"]
mod fixture;

#[expect(dead_code, reason = "only the backbone folder of the shared support is used here")]
#[path = "../../../model/tests/support/mod.rs"]
mod support;
