//! Training runs from settings to head, on the small random CLIP of the parity data and drawn images.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made fails its test")]

mod command;
mod fixture;
mod refusals;
mod resume;
mod runs;
mod scores;

#[expect(dead_code, reason = "only the backbone folder of the shared support is used here")]
#[path = "../../../model/tests/support/mod.rs"]
mod support;
