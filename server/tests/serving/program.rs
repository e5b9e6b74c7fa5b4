//! `inctrl-server` as a process: what it refuses to start with, and that it starts and stops.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::real::Official;
use crate::support::{parity_folders, write_backbone_folder};

fn serve(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inctrl-server"));
    command
        .args(["serve", "--device", "cpu", "--precision", "fp32", "--threads", "1"])
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--drain-delay", "0s"])
        .arg("--state-dir")
        .arg(folder.join("state"))
        .env_remove("INCTRL_LOG")
        .stdin(Stdio::null());
    command
}

/// Runs what must not start; returns the error line.
fn refusal(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let told = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(stdout.is_empty(), "it must not say that it listens");
    told.lines()
        .find(|line| line.starts_with("error: "))
        .unwrap_or_else(|| panic!("no error in\n{told}"))
        .to_owned()
}

#[track_caller]
fn assert_told(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part:?} must be in {error}");
    }
}

#[test]
fn settings_that_cannot_be_used_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("server.yaml");
    std::fs::write(&config, "limits: {max_shot: 4}\n").unwrap();
    let error = refusal(serve(folder.path()).arg("--config").arg(&config));
    assert_told(&error, &["limits.max_shot", "did you mean \"limits.max_shots\"?"]);
    let error = refusal(serve(folder.path()).arg("--config").arg(folder.path().join("gone.yaml")));
    assert_told(&error, &["gone.yaml", "No such file"]);
    assert_told(&refusal(&mut serve(folder.path())), &["backbone is not set", "--backbone DIR"]);
}

#[test]
fn files_and_places_that_are_not_there_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (head, missing) = (folder.path().join("head"), folder.path().join("missing"));
    std::fs::write(&head, "no head").unwrap();
    let error =
        refusal(serve(folder.path()).arg("--backbone").arg(folder.path()).arg("--head").arg(&missing));
    assert_told(&error, &["cannot read head", "missing", "--head"]);
    let error = refusal(serve(folder.path()).arg("--backbone").arg(&missing).arg("--head").arg(&head));
    assert_told(&error, &["backbone", "missing"]);
    // A file stands where the folder should be made.
    let mut command = serve(folder.path());
    command.arg("--state-dir").arg(head.join("state"));
    let error = refusal(command.arg("--backbone").arg(folder.path()).arg("--head").arg(&head));
    assert_told(&error, &["state folder", "--state-dir"]);
    // Told before anything is read: the backbone and the head are missing too.
    let mut command = serve(folder.path());
    command.arg("--address-file").arg(missing.join("address"));
    let error = refusal(command.arg("--backbone").arg(&missing).arg("--head").arg(&missing));
    assert_told(&error, &["cannot write the address", "--address-file"]);
}

#[test]
fn a_port_in_use_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let head = folder.path().join("head");
    std::fs::write(&head, "no head").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, said) in [("--listen", "cannot listen on"), ("--admin-listen", "admin address")] {
        let mut command = serve(folder.path());
        command.arg("--backbone").arg(folder.path()).arg("--head").arg(&head).args([flag, &address]);
        assert_told(&refusal(&mut command), &[said, &address, "in use"]);
    }
}

#[test]
fn heads_and_backbones_that_do_not_fit_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let official = Official::every().remove(0);
    let head = folder.path().join("head.safetensors");
    let refused = |backbone: &Path, bytes: &[u8]| {
        std::fs::write(&head, bytes).unwrap();
        refusal(serve(folder.path()).arg("--backbone").arg(backbone).arg("--head").arg(&head))
    };
    let backbone = official.backbone.path();
    assert_told(&refused(backbone, b"no head at all"), &["head.safetensors", "not a head file"]);

    let mut with_nan = official.head.clone();
    let end = with_nan.len();
    with_nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_told(&refused(backbone, &with_nan), &["head.safetensors", "finite"]);

    let parity = parity_folders().remove(0);
    let mut state = parity.state();
    state.retain(|name, _| !["adapter.", "diff_head"].iter().any(|prefix| name.starts_with(prefix)));
    state.remove("visual.proj");
    let broken = write_backbone_folder(&parity.expected.config, &state);
    assert_told(&refused(broken.path(), &official.head), &["visual.proj"]);

    let mut state = parity.state();
    state.retain(|name, _| !["adapter.", "diff_head"].iter().any(|prefix| name.starts_with(prefix)));
    let projection = state["visual.proj"].shallow_clone();
    state.insert("visual.proj".to_owned(), projection * 2.0);
    let other = write_backbone_folder(&parity.expected.config, &state);
    assert_told(&refused(other.path(), &official.head), &["trained on backbone"]);
}

#[test]
fn it_serves_until_it_is_asked_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let official = Official::every().remove(0);
    let (head, file) = (folder.path().join("head"), folder.path().join("address"));
    std::fs::write(&head, &official.head).unwrap();
    let mut command = serve(folder.path());
    command.arg("--backbone").arg(official.backbone.path()).arg("--head").arg(&head);
    command.arg("--address-file").arg(&file).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Stopped(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
    std::net::TcpStream::connect(&address).unwrap();
    let process = server.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), address);
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_ne!(mode & 0o044, 0, "{mode:o} must let others read, as the umask does");
}

/// Killed when a test fails.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        // One that has ended is no error.
        let _ = self.0.kill();
    }
}
