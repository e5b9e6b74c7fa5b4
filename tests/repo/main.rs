//! Checks of the repository itself: what a reviewer would otherwise have to look for in every change.

#![expect(clippy::unwrap_used, reason = "a check that cannot look has failed")]

mod dependencies;
mod documents;
mod files;
mod regressions;
mod set_up;
mod sources;
