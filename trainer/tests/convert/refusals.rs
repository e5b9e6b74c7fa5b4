//! What is refused before anything is written, and with which exit status.

use std::path::Path;

use crate::clip::{Official, is_of_clip};
use crate::file::{Age, Pickle, around};
use crate::{assert_says, convert, names, said};

#[test]
fn a_pickle_with_a_foreign_global_is_refused_by_name_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.pyth");
    let harm = folder.path().join("harm");
    let call = Pickle::begin().global("posix", "system").op(b"(").text(&format!("touch {}", harm.display()));
    std::fs::write(&path, around(&call.op(b"tR."), &[], Age::New)).unwrap();
    let mut command = convert([path.as_path()]);
    command.arg("--into").arg(folder.path().join("backbone"));
    let said = said(command, 65);
    assert_says(
        &said,
        &["checkpoint.pyth", "posix.system", "nothing was run", "torch.save(model.state_dict()"],
    );
    assert_eq!(names(folder.path()), ["checkpoint.pyth"]);
}

#[test]
fn a_checkpoint_that_is_not_there_is_named() {
    let mut command = convert([Path::new("no/such.pth")]);
    command.args(["--into", "backbone"]);
    assert_says(&said(command, 65), &["no/such.pth", "No such file"]);
}

#[test]
fn a_folder_that_is_there_is_left_as_it_is() {
    let official = Official::open();
    let clip = official.save("clip.pt", Age::New, is_of_clip);
    std::fs::create_dir(official.path("backbone")).unwrap();
    std::fs::write(official.path("backbone/mine"), "mine").unwrap();
    assert_says(&said(official.convert(&clip, false), 1), &["backbone", "is there already"]);
    assert_eq!(names(&official.path("backbone")), ["mine"]);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let official = Official::open();
    let clip = official.save("clip.pt", Age::New, is_of_clip);
    let mut command = convert([clip.as_path()]);
    command.arg("--into").arg(clip.join("backbone")).arg("--vocabulary").arg(Official::vocabulary());
    assert_says(&said(command, 1), &["clip.pt/backbone", "cannot write", "permissions"]);
}

#[test]
fn a_head_that_cannot_be_written_leaves_no_backbone_either() {
    let official = Official::open();
    let checkpoint = official.save("checkpoint.pyth", Age::New, |_| true);
    std::fs::create_dir(official.path("taken")).unwrap();
    for head in ["taken", "checkpoint.pyth/head.safetensors"] {
        let mut command = official.convert(&checkpoint, false);
        command.arg("--head").arg(official.path(head));
        assert_says(&said(command, 1), &[head, "cannot write"]);
        assert_eq!(names(official.work.path()), ["checkpoint.pyth", "config.json", "taken"]);
    }
}

#[test]
fn usage_that_does_not_go_with_the_checkpoint_is_told_what_does() {
    let official = Official::open();
    let checkpoint = official.save("checkpoint.pyth", Age::New, |_| true);
    let clip = official.save("clip.pt", Age::New, is_of_clip);
    assert_says(&said(official.convert(&checkpoint, false), 64), &["holds a head", "--head FILE"]);
    assert_says(&said(official.convert(&clip, true), 64), &["holds no head", "leave --head out"]);
    let mut wordless = convert([clip.as_path()]);
    wordless.arg("--into").arg(official.path("backbone"));
    assert_says(&said(wordless, 64), &["--vocabulary", "bpe_simple_vocab_16e6.txt.gz"]);
    assert_says(&said(convert([clip.as_path()]), 64), &["--into"]);
    assert_eq!(names(official.work.path()), ["checkpoint.pyth", "clip.pt", "config.json"]);
}

#[test]
fn a_backbone_folder_that_cannot_be_opened_is_named_and_not_the_checkpoint() {
    let official = Official::open();
    let checkpoint = official.save("checkpoint.pyth", Age::New, |_| true);
    std::fs::create_dir(official.path("empty")).unwrap();
    let mut command = convert([checkpoint.as_path()]);
    command.arg("--backbone").arg(official.path("empty")).arg("--head").arg(official.path("head"));
    let said = said(command, 65);
    assert_says(&said, &["backbone folder", "empty", "--backbone"]);
    assert!(!said.contains("does not fit"), "the checkpoint is not to blame: {said}");
}

#[test]
fn a_checkpoint_of_no_known_kind_is_told_which_are() {
    let official = Official::open();
    let strange = official.save("strange.pt", Age::New, |name| name.starts_with("diff_head."));
    let said = said(official.convert(&strange, false), 65);
    assert_says(&said, &["no known kind", "visual.conv1.weight", "_conv_stem.weight", "diff_head.bn1.bias"]);
}
