//! The doorway of `inctrl-operator`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    inctrl_operator::run(inctrl_operator::args::CommandLine::parse())
}
