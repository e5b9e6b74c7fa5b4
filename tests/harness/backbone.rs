//! The backbone that tests run with.

use std::path::PathBuf;

/// Names a backbone folder to run with instead.
const VARIABLE: &str = "INCTRL_TEST_BACKBONE";
const STARTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.backbones/efficientnet-lite0");

/// The folder of the backbone to run with, or what to do to have one.
pub fn find() -> Result<PathBuf, String> {
    let folder = std::env::var_os(VARIABLE).map_or_else(|| PathBuf::from(STARTER), PathBuf::from);
    let is_there = folder.is_dir();
    is_there.then_some(folder).ok_or_else(|| {
        format!("there is no backbone in {STARTER}; run make backbone, or name one in {VARIABLE}")
    })
}
