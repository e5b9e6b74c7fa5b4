//! Programs of this workspace, as users start them.

use std::path::PathBuf;
use std::process::Command;

/// Why a program cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The running test is not where cargo puts it.
    #[error("{path:?} is not below a cargo target folder, so programs cannot be found beside it")]
    Place {
        /// Path of the running test.
        path: PathBuf,
    },
    /// Building failed.
    #[error("building {package}:\n{output}")]
    Build {
        /// Package of the program.
        package: &'static str,
        /// What cargo said.
        output: String,
    },
    /// It is not there, and no cargo runs this test to build it.
    #[error("{path:?} is missing; run cargo build first")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Something could not be run.
    #[error("running {what}")]
    Run {
        /// What.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// Says, when set, that the programs are up to date: `make test` has just built them, with the features of the whole
/// workspace, and building one package alone would build most dependencies again.
const BUILT_VARIABLE: &str = "INCTRL_TEST_PROGRAMS_BUILT";

/// Path of the program `name` of `package`, in the profile of the running test. Where cargo runs the test the program
/// is brought up to date first, unless [`BUILT_VARIABLE`] is set; else it is taken as it lies there.
pub fn program(package: &'static str, name: &str) -> Result<PathBuf, ProgramError> {
    let run = |what: &str, source| ProgramError::Run { what: what.to_owned(), source };
    let test = std::env::current_exe().map_err(|source| run("this test", source))?;
    // target/PROFILE/deps/TEST
    let place = test.ancestors().nth(2).filter(|_| test.parent().is_some_and(|it| it.ends_with("deps")));
    let Some(place) = place else { return Err(ProgramError::Place { path: test }) };
    if let Some(cargo) = std::env::var_os("CARGO")
        && std::env::var_os(BUILT_VARIABLE).is_none()
    {
        let profile = match place.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(other) => other,
        };
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--package", package, "--bin", name, "--profile", profile]);
        let output = command.output().map_err(|source| run("cargo build", source))?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(ProgramError::Build { package, output });
        }
    }
    let path = place.join(name);
    if path.is_file() { Ok(path) } else { Err(ProgramError::Missing { path }) }
}
