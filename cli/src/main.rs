//! The doorway of `inctrl`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    inctrl_cli::run(inctrl_cli::args::CommandLine::parse()).into()
}
