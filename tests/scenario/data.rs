//! Small data: drawn images with and without a defect, a backbone of drawn weights, and the claim that they lie on.

use std::path::Path;
use std::process::Command;

use image::{Rgb, RgbImage};

use crate::support;

/// Side of the images in pixels.
const SIDE: u32 = 48;

/// Lays out everything that a model names: `auxiliary`, `held-out`, `backbone`, and `good`, which has no anomalies.
pub(crate) fn lay_out(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let backbone = support::parity_folders()[0].backbone_folder();
    copy(backbone.path(), &folder.join("backbone"));
    for (set, first) in [("auxiliary", 0), ("held-out", 1000), ("good", 2000)] {
        for (name, number) in [("bolt", 0), ("cable", 300)] {
            category(&folder.join(set).join(name), first + number, set != "good");
        }
    }
    std::fs::create_dir(folder.join("heads")).unwrap();
}

/// A category in MVTec layout.
fn category(folder: &Path, first: u32, has_anomalies: bool) {
    for number in 0..4 {
        striped(&folder.join(format!("train/good/{number}.png")), first + number, false);
    }
    for number in 0..5 {
        striped(&folder.join(format!("test/good/{number}.png")), first + 100 + number, false);
    }
    for number in (0..3).filter(|_| has_anomalies) {
        striped(&folder.join(format!("test/spot/{number}.png")), first + 200 + number, true);
    }
}

/// A striped picture whose detail depends on `number`; with a bright square in its corner where it is anomalous.
pub(crate) fn striped(path: &Path, number: u32, anomalous: bool) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let grey = 90 + ((x * 7 + y * 3 + number * 5) % 40) as u8;
        if anomalous && x < SIDE / 3 && y < SIDE / 3 {
            Rgb([250, 240, 90])
        } else {
            Rgb([grey, grey, grey / 2])
        }
    });
    picture.save(path).unwrap();
}

/// The content digest of a folder, as the documentation says how to have it.
pub(crate) fn content_digest(folder: &Path) -> String {
    const DOCUMENTED: &str =
        r"find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum";
    let documentation = include_str!("../../docs/training-job.md");
    assert!(documentation.contains(DOCUMENTED), "docs/training-job.md must say {DOCUMENTED}");
    let output = Command::new("bash").args(["-c", DOCUMENTED]).current_dir(folder).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
