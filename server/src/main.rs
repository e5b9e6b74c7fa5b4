//! The doorway of `inctrl-server`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use inctrl_server::args::CommandLine;
use inctrl_telemetry::Chain;

fn main() -> ExitCode {
    match inctrl_server::run(CommandLine::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {}", Chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
