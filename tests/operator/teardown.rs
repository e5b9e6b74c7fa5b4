//! Whatever becomes of a test, its control plane does not outlive it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use inctrl_tests::control_plane::{ControlPlane, Controllers};

use crate::stage::{block_on, eventually};

/// Set for the process that this test kills.
const TO_BE_KILLED: &str = "INCTRL_TEST_TO_BE_KILLED";

pub(crate) fn is_the_test_to_be_killed() -> bool {
    std::env::var_os(TO_BE_KILLED).is_some()
}

/// Starts a control plane, says where its files are, and waits.
pub(crate) fn wait_to_be_killed() -> ExitCode {
    block_on(async {
        let plane = ControlPlane::start(Controllers::Off).await.expect("the control plane must start");
        let mut out = std::io::stdout();
        let said = writeln!(out, "{}", plane.folder().display()).and_then(|()| out.flush());
        said.expect("the test must hear where the files are");
        std::future::pending::<()>().await;
    });
    ExitCode::FAILURE
}

pub(crate) async fn a_killed_test_leaves_no_process_and_no_file() {
    let mut test = Command::new(std::env::current_exe().unwrap())
        .env(TO_BE_KILLED, "yes")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut folder = String::new();
    BufReader::new(test.stdout.as_mut().unwrap()).read_line(&mut folder).unwrap();
    let folder = folder.trim().to_owned();
    assert!(Path::new(&folder).is_dir(), "{folder:?} must be a control plane's folder");
    assert!(!processes(&folder).is_empty(), "its programs must run");
    test.kill().unwrap();
    test.wait().unwrap();
    eventually("the end of its programs", async || processes(&folder).is_empty().then_some(())).await;
    eventually("the end of its files", async || (!Path::new(&folder).exists()).then_some(())).await;
}

/// Command lines that name the folder.
fn processes(folder: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| line.contains(folder) && !line.contains("rm -rf")).collect()
}
