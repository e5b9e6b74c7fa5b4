//! What the cross-crate tests need started: one module a thing.

pub mod backbone;
pub mod control_plane;
pub mod go_tools;
pub mod interposer;
pub mod programs;
pub mod server;
pub mod tether;
pub mod wait;
