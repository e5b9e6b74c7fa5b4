//! What the runs share: a backbone folder, a small data set and its cached features.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use image::{Rgb, RgbImage};
use inctrl_model::HeadKind;
use inctrl_trainer::config::{Settings, TrainConfig};
use inctrl_trainer::data::{DatasetSpec, Format};
use tempfile::TempDir;

use crate::support;

/// Categories of the data set; with five, one is held out.
pub(crate) const CATEGORIES: [&str; 5] = ["bolts", "tiles", "cables", "rugs", "pills"];

/// Normal images of a category.
const NORMALS: usize = 5;

/// Anomalous images of a category.
const ANOMALIES: usize = 2;

/// Backbone, data and cache on disk.
pub(crate) struct Fixture {
    backbone: TempDir,
    data: TempDir,
    cache: TempDir,
}

/// Tests that run at the same time share one; the last one removes it. Runs write to folders of their own.
pub(crate) fn fixture() -> Arc<Fixture> {
    static SHARED: Mutex<Weak<Fixture>> = Mutex::new(Weak::new());
    // Tests share the cores; so small a backbone's threads would only wait for each other.
    tch::set_num_threads(1);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let made = Arc::new(Fixture::make());
        *shared = Arc::downgrade(&made);
        made
    })
}

impl Fixture {
    fn make() -> Self {
        let data = tempfile::tempdir().unwrap();
        for (number, category) in CATEGORIES.iter().enumerate() {
            draw_category(&data.path().join(category), number as u32, NORMALS, ANOMALIES);
        }
        let backbone = support::parity_folders()[0].backbone_folder();
        Self { backbone, data, cache: tempfile::tempdir().unwrap() }
    }

    /// The backbone's folder.
    pub(crate) fn backbone(&self) -> &Path {
        self.backbone.path()
    }

    /// The data set's folder.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// The cache's folder.
    pub(crate) fn cache(&self) -> &Path {
        self.cache.path()
    }

    /// Settings of a small run into `out`.
    pub(crate) fn settings(&self, head: HeadKind, out: &Path) -> Settings {
        let mut settings = Settings {
            backbone: Some(self.backbone().to_owned()),
            data: vec![DatasetSpec::new(Format::Mvtec, self.data())],
            out: Some(out.to_owned()),
            cache: self.cache().to_owned(),
            head,
            seed: 7,
            ..Settings::default()
        };
        settings.training.epochs = Some(3);
        settings.training.steps = Some(4);
        settings.training.batch = Some(8);
        settings.training.shots = Some(vec![1, 2, 4]);
        settings
    }

    /// The same, checked.
    pub(crate) fn config(&self, head: HeadKind, out: &Path) -> TrainConfig {
        TrainConfig::new(self.settings(head, out)).unwrap()
    }
}

/// A category in MVTec layout: stripes of its own, anomalies with a dark square.
pub(crate) fn draw_category(folder: &Path, number: u32, normals: usize, anomalies: usize) {
    for image in 0..normals {
        save(&folder.join("train/good").join(format!("{image}.png")), &stripes(number, image as u32));
    }
    for image in 0..anomalies {
        let mut picture = stripes(number, 40 + image as u32);
        let (left, top) = (8 + 11 * image as u32, 12 + 5 * number);
        for (x, y) in (0..10).flat_map(|x| (0..10).map(move |y| (x, y))) {
            picture.put_pixel(left + x, top + y, Rgb([12, 10, 9]));
        }
        save(&folder.join("test/hole").join(format!("{image}.png")), &picture);
    }
}

fn stripes(number: u32, image: u32) -> RgbImage {
    RgbImage::from_fn(48, 48, |x, y| {
        let wave = ((x * (number + 2) + y * (2 * number + 1) + 3 * image) % 24 * 6) as u8;
        let grain = ((x * 31 + y * 17 + image * 53) % 13) as u8;
        Rgb([60 + wave / 2 + grain, 90 + wave / 3, 200 - wave + grain])
    })
}

fn save(path: &Path, picture: &RgbImage) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

/// Names of everything in a folder, sorted.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder for one run's output.
pub(crate) fn out() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head");
    (folder, path)
}
