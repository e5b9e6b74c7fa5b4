//! The synthetic benchmark as files: deterministic, whole or not there, readable as a data set.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made fails its test")]

use std::collections::BTreeMap;
use std::path::Path;

use inctrl_trainer::data::{self, DatasetSpec, Format, Split};
use inctrl_trainer::exit::Exit;
use inctrl_trainer::synth::{self, Args, MANIFEST_FILE, Manifest, Options, SynthError};

fn args(out: &Path, seed: u64) -> Args {
    let options = Options { seed, size: 64, instances: 3, images: 4, held_out_images: 1 };
    Args { out: out.to_owned(), options, log: "info".to_owned() }
}

/// Content by path below `folder`.
fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    files
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, other] = ["first", "second", "other"].map(|name| folder.path().join(name));
    synth::run(&args(&first, 5)).unwrap();
    synth::run(&args(&second, 5)).unwrap();
    synth::run(&args(&other, 6)).unwrap();
    let (first, other) = (content(&first), content(&other));
    assert_eq!(first, content(&second));
    let normal = "auxiliary/plaster-0/train/good/000.jpg";
    assert_ne!(first[normal], other[normal]);
}

#[test]
fn both_sets_are_data_sets_with_a_mask_for_every_anomaly_and_a_description_of_every_image() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("benchmark");
    synth::run(&args(&out, 5)).unwrap();
    for set in ["auxiliary", "held-out"] {
        let root = out.join(set);
        let dataset = data::open(&DatasetSpec::new(Format::Mvtec, &root)).unwrap();
        let manifest: Manifest =
            serde_json::from_slice(&std::fs::read(root.join(MANIFEST_FILE)).unwrap()).unwrap();
        assert_eq!(dataset.samples.len(), manifest.images.len());
        let known: BTreeMap<&str, _> =
            manifest.images.iter().map(|image| (image.path.as_str(), image)).collect();
        for sample in &dataset.samples {
            let image = known[dataset.relative(&sample.path).as_str()];
            assert_eq!(image.category, sample.category);
            let operator = image.defect.as_ref().map(|defect| defect.operator.as_str());
            assert_eq!(operator, sample.defect.as_deref());
            assert!(manifest.categories.contains_key(&sample.category));
            let Some(defect) = &image.defect else { continue };
            assert_eq!(sample.split, Split::Test);
            assert_eq!(manifest.defects[&defect.operator], defect.seen);
            let mask = image::open(sample.mask.as_ref().unwrap()).unwrap().into_luma8();
            assert_eq!(mask.dimensions(), (64, 64));
            let anomalous = mask.pixels().filter(|pixel| pixel.0 == [255]).count();
            assert_eq!(anomalous, defect.pixels);
            assert!(anomalous > 0, "{:?} has an empty mask", sample.path);
            if let Some(twin) = &defect.twin {
                assert!(known[twin.as_str()].defect.is_none(), "a twin must be normal");
            }
        }
    }
}

#[test]
fn an_earlier_benchmark_is_replaced_and_the_same_one_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("benchmark");
    std::fs::create_dir(&out).unwrap();
    synth::run(&args(&out, 5)).unwrap();
    let image = out.join("auxiliary/plaster-0/train/good/000.jpg");
    let (bytes, written) =
        (std::fs::read(&image).unwrap(), std::fs::metadata(&image).unwrap().modified().unwrap());
    synth::run(&args(&out, 5)).unwrap();
    assert_eq!(std::fs::metadata(&image).unwrap().modified().unwrap(), written);
    synth::run(&args(&out, 6)).unwrap();
    assert_ne!(std::fs::read(&image).unwrap(), bytes);
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["benchmark"], "nothing but the benchmark must be left");
}

#[test]
fn a_folder_with_other_files_is_refused_by_their_name_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
    let refusal = synth::run(&args(folder.path(), 5)).unwrap_err();
    assert!(matches!(refusal, SynthError::NotOurs { .. }));
    assert_eq!(refusal.exit(), Exit::Usage);
    assert!(refusal.to_string().contains("thesis.tex"), "{refusal}");
    assert_eq!(content(folder.path()).len(), 1);
    // A folder that is only named like ours is not ours either.
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("auxiliary")).unwrap();
    assert!(matches!(synth::run(&args(folder.path(), 5)), Err(SynthError::NotOurs { .. })));
}

#[test]
fn a_file_among_the_images_of_an_earlier_benchmark_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("benchmark");
    synth::run(&args(&out, 5)).unwrap();
    let own = out.join("auxiliary/plaster-0/test/notes.txt");
    std::fs::write(&own, "years of work").unwrap();
    let before = content(&out);
    let refusal = synth::run(&args(&out, 6)).unwrap_err();
    assert_eq!(refusal.exit(), Exit::Usage);
    assert!(refusal.to_string().contains("plaster-0/test/notes.txt"), "{refusal}");
    assert_eq!(content(&out), before, "nothing must be changed");
    synth::run(&args(&out, 5)).unwrap();
    std::fs::remove_file(own).unwrap();
    synth::run(&args(&out, 6)).unwrap();
}

#[test]
fn what_it_does_is_told_while_it_does_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("benchmark");
    let options = "--size 64 --instances 2 --images 2 --held-out-images 1".split(' ');
    let mut command = assert_cmd::Command::cargo_bin("inctrl-trainer").unwrap();
    let output = command.args(["synth", "--out"]).arg(&out).args(options).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("drawing the benchmark") && said.contains("the benchmark is drawn"), "{said}");
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let failure = synth::run(&args(&file, 5)).unwrap_err();
    assert!(failure.to_string().contains("file"), "{failure}");
    assert_eq!(failure.exit(), Exit::Failed);
    let below = synth::run(&args(&file.join("benchmark"), 5)).unwrap_err();
    assert_eq!(below.exit(), Exit::Failed);
}
