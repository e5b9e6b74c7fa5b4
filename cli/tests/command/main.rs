//! The real `inctrl` against a server made for the purpose: what a script and a person at a terminal rely on.
#![expect(clippy::unwrap_used, reason = "a harness that cannot do its part must fail the test")]

mod fake;
mod formats;
mod inctrl;
mod maps;
mod order;
mod outages;
mod outcomes;
mod prompts;
mod security;
