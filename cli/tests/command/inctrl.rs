//! Running the command, and files for it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use assert_cmd::cargo::cargo_bin;

use crate::fake::Fake;

/// What a finished command left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The command with these arguments, and nothing of this machine's settings.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("inctrl"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for variable in ["INCTRL_SERVER", "INCTRL_TLS_CA", "INCTRL_TOKEN_FILE"] {
        command.env_remove(variable);
    }
    command
}

/// Runs the command to its end.
pub(crate) fn run(arguments: &[&str]) -> Finished {
    finish(command(arguments).spawn().unwrap())
}

/// Runs the command against a server to its end.
pub(crate) fn run_on(fake: &Fake, arguments: &[&str]) -> Finished {
    finish(start_on(fake, arguments))
}

/// Starts the command against a server.
pub(crate) fn start_on(fake: &Fake, arguments: &[&str]) -> Child {
    command(arguments).env("INCTRL_SERVER", fake.url()).spawn().unwrap()
}

/// Waits for a command's end.
pub(crate) fn finish(child: Child) -> Finished {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().expect("the command must not die of a signal");
    Finished { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A folder of files whose contents tell the server what to do with them.
#[derive(Debug)]
pub(crate) struct Images(tempfile::TempDir);

impl Images {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        Self(folder)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}
