//! The doorway of `inctrl-trainer`.

use std::process::ExitCode;

use clap::Parser as _;
use inctrl_trainer::args::CommandLine;
use inctrl_trainer::exit::Exit;

fn main() -> ExitCode {
    let exit = match CommandLine::try_parse() {
        Ok(typed) => inctrl_trainer::run(typed),
        Err(refusal) => {
            let _ = refusal.print();
            if refusal.use_stderr() { Exit::Usage } else { Exit::Done }
        }
    };
    exit.into()
}
