//! What the evaluations share: a backbone folder, drawn images, heads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, Rgb, RgbImage};
use inctrl_model::{Backbone, Device, Head, HeadKind, HeadMetadata, Precision};
use inctrl_trainer::data::{DatasetSpec, Format};
use inctrl_trainer::eval::{Baseline, EvalConfig, NamedFiles};
use tch::Tensor;
use tempfile::TempDir;

use crate::support;

/// Folders of one test; removed at its end.
pub(crate) struct Fixture {
    pub(crate) backbone: TempDir,
    pub(crate) folder: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self {
            backbone: support::parity_folders()[0].backbone_folder(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A path in the test's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A small evaluation of `data` by the raw pixels alone.
    pub(crate) fn config(&self, format: Format, data: &Path) -> EvalConfig {
        EvalConfig {
            backbone: self.backbone.path().to_owned(),
            data: vec![DatasetSpec::new(format, data)],
            shots: vec![1, 2],
            draws: 2,
            seed: 5,
            baselines: vec![Baseline::RawPixels],
            map_side: 30,
            cache: self.path("cache"),
            out: self.path("out"),
            ..EvalConfig::default()
        }
    }

    /// Writes a head of drawn weights.
    pub(crate) fn head(&self, kind: HeadKind, name: &str) -> PathBuf {
        let backbone = Backbone::open(self.backbone.path(), Device::Cpu, Precision::Fp32).unwrap();
        let metadata = HeadMetadata::new(kind, backbone.info().clone());
        let tensors: BTreeMap<String, Tensor> = metadata
            .layout()
            .into_iter()
            .map(|(tensor, shape)| {
                let count = shape.iter().product::<i64>() as usize;
                let values: Vec<f32> =
                    support::generated::draw(&format!("{name}/{tensor}")).take(count).collect();
                let positive = tensor.ends_with("running_var") || tensor.ends_with("deviation");
                let drawn = Tensor::from_slice(&values).view(shape.as_slice()) * 0.1;
                (tensor, if positive { drawn.abs() + 0.5 } else { drawn })
            })
            .collect();
        let head = Head::from_tensors(&metadata, tensors, Device::Cpu).unwrap();
        let path = self.path(&format!("{name}.safetensors"));
        std::fs::write(&path, head.to_bytes()).unwrap();
        path
    }
}

/// Head files of one name.
pub(crate) fn named(name: &str, files: Vec<PathBuf>) -> NamedFiles {
    NamedFiles { name: name.to_owned(), files }
}

/// A picture of one grey, `side` pixels wide and high.
pub(crate) fn flat(path: &Path, grey: u8, side: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(side, side, Rgb([grey; 3])).save(path).unwrap();
}

/// A mask with a square of `size` pixels in its upper left corner.
pub(crate) fn mask(path: &Path, side: u32, size: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let picture = GrayImage::from_fn(side, side, |x, y| Luma([if x < size && y < size { 255 } else { 0 }]));
    picture.save(path).unwrap();
}

/// A striped picture whose detail depends on `number`; with a bright square in its corner where it is anomalous.
pub(crate) fn striped(path: &Path, number: u32, anomalous: bool) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let picture = RgbImage::from_fn(48, 48, |x, y| {
        let grey = 90 + ((x * 7 + y * 3 + number * 5) % 40) as u8;
        if anomalous && x < 16 && y < 16 { Rgb([250, 240, 90]) } else { Rgb([grey, grey, grey / 2]) }
    });
    picture.save(path).unwrap();
}

/// A category in MVTec layout: `train` normal images to prompt with, five normal and three anomalous queries.
pub(crate) fn category(root: &Path, name: &str, first: u32, train: u32) {
    let folder = root.join(name);
    for number in 0..train {
        striped(&folder.join(format!("train/good/{number}.png")), first + number, false);
    }
    for number in 0..5 {
        striped(&folder.join(format!("test/good/{number}.png")), first + 100 + number, false);
    }
    for number in 0..3 {
        striped(&folder.join(format!("test/spot/{number}.png")), first + 200 + number, true);
        mask(&folder.join(format!("ground_truth/spot/{number}_mask.png")), 48, 16);
    }
}
