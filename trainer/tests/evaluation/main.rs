//! Evaluations from configuration to report, on the small random CLIP of the parity data and drawn images.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made fails its test")]

mod command;
mod findings;
mod fixture;
mod protocol;
mod refusals;

#[expect(dead_code, reason = "only the backbone folder of the shared support is used here")]
#[path = "../../../model/tests/support/mod.rs"]
mod support;
