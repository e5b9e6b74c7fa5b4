//! Roll-outs as the operator makes them.

mod access;
mod artifact;
mod breakdown;
mod commands;
mod fetching;
mod real;
mod restart;
mod shadow;
mod stage;
mod swap;
