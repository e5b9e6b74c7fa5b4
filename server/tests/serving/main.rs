//! The server as its callers meet it: over gRPC, in this process with a scorer driven by hand or with the tiny CLIP of
//! the parity data, and as a program.
#![expect(clippy::unwrap_used, reason = "what a test cannot do must fail it")]

mod authority;
mod bad_input;
mod batching;
mod connections;
mod drain;
mod parity;
mod program;
mod prompt_sets;
mod real;
mod rollout;
mod stage;
#[expect(dead_code, reason = "shared with the tests of the model; each uses its part")]
#[path = "../../../model/tests/support/mod.rs"]
mod support;
