//! What an epoch of head training costs with cached features, beside the authors' loop, which encodes texts, prompt
//! set and query again for every query of every epoch.
//!
//! `cargo bench -p inctrl-trainer`; a few minutes on two cores. The recipe is the official one (100 steps of 16 queries,
//! K = 2) at the full ViT-B-16-plus-240 size; weights are drawn: they cost what trained ones do. The authors' loop is
//! measured for one query and counted for an epoch's 1,600.
#![expect(clippy::unwrap_used, reason = "what a benchmark cannot do must end it")]

#[expect(dead_code, reason = "only the drawn backbone of the shared support is used here")]
#[path = "../../model/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
#[expect(clippy::disallowed_types, reason = "a benchmark measures real time")]
use std::time::Instant;

use inctrl_model::{
    Backbone, Device, HeadKind, HeadMetadata, ImageLimits, Pixels, Precision, PromptFeatures,
};
use inctrl_trainer::config::{Recipe, Settings, TrainConfig, Training};
use inctrl_trainer::data::{DatasetSpec, Format};
use inctrl_trainer::features::{FeatureCache, FeatureSet, View};
use inctrl_trainer::pairs::Pairs;
use inctrl_trainer::progress::Progress;
use inctrl_trainer::train::batch::Batches;
use inctrl_trainer::train::{AuxiliaryData, Fit, fresh};
use support::generated;

/// Epochs measured; the median counts.
const EPOCHS: u64 = 5;

/// The authors pad every sentence to the 77 tokens of the context, this crate encodes its tokens alone. A name this
/// long fills the context, so that encoding it is the authors' work.
const FILLING_OBJECT_WORDS: usize = 80;

#[expect(clippy::print_stdout, reason = "the table is what a benchmark is run for")]
fn main() {
    inctrl_model::allocator::keep_freed_memory();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    generated::write_backbone(folder.path());
    let backbone = Backbone::open(folder.path(), Device::Cpu, Precision::Fp32).unwrap();
    let data_folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let config = config(data_folder.path());
    let data = AuxiliaryData::open(&config.data, &config.training, 0).unwrap();
    let cache_folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let cache = FeatureCache::open(cache_folder.path(), &backbone).unwrap();
    let features = cache.extract(&data.paths, View::Plain).unwrap();

    let threads = tch::get_num_threads();
    let epoch = warm_epoch(&backbone, &features, &data, &config.training);
    let queries = (config.training.steps * config.training.batch) as f64;
    let shots = config.training.shots[0];
    let matching = seconds_a_match(&features) * queries * shots as f64;
    tch::set_num_threads(threads);
    let authors = authors_query(&backbone, &data.paths, shots) * queries;
    println!("ViT-B-16-plus-240 with drawn weights, {queries} queries, K = {shots}, {threads} threads");
    println!("epoch, features and matches remembered       {epoch:>10.2} s");
    println!("epoch, features cached, every match new      {:>10.2} s", epoch + matching);
    println!("epoch, the authors' loop                     {authors:>10.0} s");
    println!(
        "the authors' loop takes {:.0} x a warm epoch, {:.0} x one whose matches are all new",
        authors / epoch,
        authors / (epoch + matching)
    );
}

/// The official recipe on a class made of the parity data's images.
fn config(folder: &Path) -> TrainConfig {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/official-parity/images");
    for entry in std::fs::read_dir(images).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let label = folder.join(if name.starts_with('n') { "normal" } else { "anomalous" });
        std::fs::create_dir_all(&label).unwrap();
        std::fs::copy(&path, label.join(name)).unwrap();
    }
    let settings = Settings {
        backbone: Some(PathBuf::new()),
        out: Some(PathBuf::new()),
        data: vec![DatasetSpec::new(Format::Folders, folder)],
        head: HeadKind::Paper,
        recipe: Recipe::Official,
        ..Settings::default()
    };
    TrainConfig::new(settings).unwrap()
}

/// Median seconds of an epoch after the first.
#[expect(clippy::disallowed_types, reason = "a benchmark measures real time")]
fn warm_epoch(
    backbone: &Backbone,
    features: &FeatureSet<'_>,
    data: &AuxiliaryData,
    training: &Training,
) -> f64 {
    let metadata = HeadMetadata::new(HeadKind::Paper, backbone.info().clone());
    let text = data.classes().map(|class| backbone.encode_object(&class.object).unwrap()).collect();
    let state = fresh(training, &metadata, 0);
    let images = 0..features.len();
    let batches = Batches::new(&metadata, features, images, BTreeMap::new(), text).unwrap();
    let mut fit = Fit::new(training, 0, data, metadata, batches, state).unwrap();
    let mut progress = Progress::new("training", (EPOCHS + 1) as usize * training.steps);
    let mut go_on = || ControlFlow::Continue(());
    fit.epoch(&mut progress, &mut go_on).unwrap();
    let mut epoch = || {
        let start = Instant::now();
        fit.epoch(&mut progress, &mut go_on).unwrap();
        start.elapsed().as_secs_f64()
    };
    let mut times: Vec<f64> = (0..EPOCHS).map(|_| epoch()).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Mean seconds of matching two images that were not matched before.
#[expect(clippy::disallowed_types, reason = "a benchmark measures real time")]
fn seconds_a_match(features: &FeatureSet<'_>) -> f64 {
    let mut pairs = Pairs::new(features, vec![true; features.len()]);
    // Reads the features and warms up.
    let _ = pairs.maps(&(1..features.len()).map(|image| (image, &[0][..])).collect::<Vec<_>>()).unwrap();
    let prompts: Vec<Vec<usize>> = (1..features.len()).map(|image| (1..image).collect()).collect();
    let wanted: Vec<(usize, &[usize])> = (2..).zip(prompts.iter().skip(1).map(Vec::as_slice)).collect();
    let products: usize = wanted.iter().map(|(_, prompts)| prompts.len()).sum();
    let start = Instant::now();
    let _ = std::hint::black_box(pairs.maps(&wanted).unwrap());
    start.elapsed().as_secs_f64() / products as f64
}

/// Seconds in which the authors' forward encodes one query, its prompt set and the texts.
#[expect(clippy::disallowed_types, reason = "a benchmark measures real time")]
fn authors_query(backbone: &Backbone, paths: &[PathBuf], shots: usize) -> f64 {
    let limits = ImageLimits { max_bytes: 1 << 24, max_pixels: 1 << 24 };
    let load =
        |path: &PathBuf| backbone.info().preprocess.load(&std::fs::read(path).unwrap(), &limits).unwrap();
    let images: Vec<Pixels> = paths[..=shots].iter().map(load).collect();
    let prompts: Vec<&Pixels> = images[1..].iter().collect();
    let object = "part ".repeat(FILLING_OBJECT_WORDS);
    let encode = || {
        let start = Instant::now();
        std::hint::black_box(PromptFeatures::encode(backbone, &prompts, &object).unwrap());
        std::hint::black_box(backbone.encode_images(&backbone.stack(&[&images[0]]).unwrap()).unwrap());
        start.elapsed().as_secs_f64()
    };
    let mut times: Vec<f64> = (0..3).map(|_| encode()).collect();
    times.sort_by(f64::total_cmp);
    times[1]
}
