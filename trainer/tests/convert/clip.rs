//! Checkpoints with a CLIP in them: the authors' (with a head) and open_clip's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use inctrl_model::{Backbone, Device, Head, ImageLimits, Precision, PromptFeatures, Residuals};
use serde_json::Value;
use tch::{Kind, Tensor};
use tempfile::TempDir;

use crate::file::{Age, Stored, write};
use crate::{assert_says, convert, names, said};

/// Largest difference of a final score to that of the authors' code.
const SCORE_TOLERANCE: f64 = 1e-4;

/// The authors' checkpoint among their answers.
const OWN_FILE: &str = "official_layout.pyth";

/// The authors' answers on a narrow CLIP with a head.
pub(crate) struct Official {
    folder: PathBuf,
    expected: Value,
    /// The whole state dict under the authors' names.
    pub(crate) state: BTreeMap<String, Tensor>,
    /// Where this test writes.
    pub(crate) work: TempDir,
}

impl Official {
    /// That of the test data.
    pub(crate) fn open() -> Self {
        Self::of(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/official-parity"))
    }

    /// Every folder in `INCTRL_PARITY_DIR` (relative to the repository's root) that has the authors' own file; without
    /// the variable, that of the test data.
    fn every() -> Vec<Self> {
        let Some(named) = std::env::var_os("INCTRL_PARITY_DIR") else { return vec![Self::open()] };
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(named);
        let entries = std::fs::read_dir(&base)
            .unwrap_or_else(|error| panic!("cannot list {}: {error}", base.display()));
        let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        folders.push(base.clone());
        folders.retain(|folder| folder.join(OWN_FILE).is_file());
        assert!(!folders.is_empty(), "{} must hold a folder with {OWN_FILE}", base.display());
        folders.into_iter().map(Self::of).collect()
    }

    fn of(folder: PathBuf) -> Self {
        let expected = std::fs::read(folder.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let state = Tensor::read_safetensors(folder.join("model.f16.safetensors")).unwrap();
        let work = tempfile::tempdir().unwrap();
        std::fs::write(work.path().join("config.json"), expected["config"].to_string()).unwrap();
        Self { folder, expected, state: state.into_iter().collect(), work }
    }

    /// A path in this test's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    pub(crate) fn vocabulary() -> PathBuf {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/data");
        data.join("bpe_simple_vocab_16e6.txt.gz")
    }

    /// Writes the tensors that are `kept` as a checkpoint.
    pub(crate) fn save(&self, name: &str, age: Age, kept: impl Fn(&str) -> bool) -> PathBuf {
        let tensors: Vec<Stored> = self
            .state
            .iter()
            .filter(|(name, _)| kept(name))
            .map(|(name, tensor)| Stored::new(name, tensor))
            .collect();
        let path = self.path(name);
        write(&path, &tensors, age);
        path
    }

    /// Converts into `backbone` (and `head.safetensors`) of this test's folder.
    pub(crate) fn convert(&self, checkpoint: &Path, with_head: bool) -> assert_cmd::Command {
        let mut command = convert([checkpoint]);
        command.arg("--into").arg(self.path("backbone"));
        command.arg("--config").arg(self.path("config.json"));
        command.arg("--vocabulary").arg(Self::vocabulary());
        if with_head {
            command.arg("--head").arg(self.path("head.safetensors"));
        }
        command
    }

    /// Every case of the answers, scored with the converted files.
    fn assert_scores(&self) {
        let backbone = Backbone::open(&self.path("backbone"), Device::Cpu, Precision::Fp32).unwrap();
        let head = Head::load(&self.path("head.safetensors"), Device::Cpu).unwrap();
        head.check_backbone(backbone.info()).unwrap();
        let pixels = Tensor::read_safetensors(self.folder.join("preprocess.safetensors")).unwrap();
        let pixels: BTreeMap<String, Tensor> = pixels.into_iter().collect();
        let encode = |names: &[&str]| {
            let images: Vec<Tensor> = names.iter().map(|name| self.image(&backbone, &pixels, name)).collect();
            backbone.encode_images(&Tensor::cat(&images, 0)).unwrap()
        };
        let cases = self.expected["cases"].as_array().unwrap();
        assert!(!cases.is_empty(), "there must be answers to compare with");
        for case in cases {
            let text = |name: &str| case[name].as_str().unwrap();
            let normals = case["normals"].as_array().unwrap();
            let normals: Vec<&str> = normals.iter().map(|name| name.as_str().unwrap()).collect();
            let object = backbone.encode_object(text("object")).unwrap();
            let prompts = PromptFeatures::new(&encode(&normals), None, object);
            let residuals = Residuals::new(&encode(&[text("query")]), &prompts);
            let score = head.score(&residuals, &prompts).unwrap()[0].score;
            let off = (f64::from(score) - case["final_score"].as_f64().unwrap()).abs();
            assert!(off <= SCORE_TOLERANCE, "{}: the score is off by {off}", text("object"));
        }
    }

    /// The authors' pixels where they are given (decoders of JPEG differ), else our own of the same image.
    fn image(&self, backbone: &Backbone, pixels: &BTreeMap<String, Tensor>, name: &str) -> Tensor {
        if let Some(pixels) = pixels.get(&format!("pixels/{name}")) {
            return pixels.unsqueeze(0);
        }
        let limits = ImageLimits { max_bytes: 1 << 24, max_pixels: 1 << 24 };
        let bytes = std::fs::read(self.folder.join("images").join(name)).unwrap();
        let pixels = backbone.info().preprocess.load(&bytes, &limits).unwrap();
        backbone.stack(&[&pixels]).unwrap()
    }
}

#[test]
fn an_official_checkpoint_becomes_a_backbone_and_a_head_that_score_as_the_authors_code() {
    let official = Official::open();
    let checkpoint = official.save("checkpoint.pyth", Age::New, |_| true);
    said(official.convert(&checkpoint, true), 0);
    assert_eq!(
        names(&official.path("backbone")),
        ["bpe_simple_vocab_16e6.txt.gz", "open_clip_config.json", "open_clip_model.safetensors"]
    );
    official.assert_scores();
}

#[test]
fn the_head_of_the_authors_own_file_goes_with_a_backbone_that_is_there() {
    for official in Official::every() {
        let clip = official.save("clip.pt", Age::Old, is_of_clip);
        said(official.convert(&clip, false), 0);
        let checkpoint = official.folder.join(OWN_FILE);
        let mut command = convert([checkpoint.as_path()]);
        command.arg("--backbone").arg(official.path("backbone"));
        command.arg("--head").arg(official.path("head.safetensors"));
        said(command, 0);
        official.assert_scores();
    }
}

#[test]
fn a_head_trained_on_another_backbone_is_refused_with_the_tensors_that_differ() {
    let mut official = Official::open();
    let clip = official.save("clip.pt", Age::New, is_of_clip);
    said(official.convert(&clip, false), 0);
    let _ = official.state.get_mut("visual.ln_pre.bias").unwrap().fill_(0.25);
    let checkpoint = official.save("checkpoint.pyth", Age::New, |_| true);
    let mut command = convert([checkpoint.as_path()]);
    command.arg("--backbone").arg(official.path("backbone"));
    command.arg("--head").arg(official.path("head.safetensors"));
    let said = said(command, 65);
    assert_says(&said, &["another backbone", "visual.ln_pre.bias differ", "--into"]);
    assert!(!official.path("head.safetensors").exists(), "no head must be written");
}

#[test]
fn every_tensor_that_does_not_fit_is_named_and_nothing_is_left() {
    let mut official = Official::open();
    official.state.insert("visual.extra".to_owned(), Tensor::ones([3], (Kind::Float, Device::Cpu)));
    official.state.insert("ln_final.weight".to_owned(), Tensor::ones([31], (Kind::Float, Device::Cpu)));
    let _ = official.state.get_mut("visual.ln_pre.bias").unwrap().get(0).fill_(f64::NAN);
    let checkpoint = official.save("checkpoint.pyth", Age::New, |name| name != "visual.proj");
    let said = said(official.convert(&checkpoint, true), 65);
    assert_says(&said, &["checkpoint.pyth", "missing: visual.proj", "surplus: visual.extra"]);
    assert_says(
        &said,
        &["ln_final.weight (expected [32], is [31])", "NaN or infinite values in: visual.ln_pre.bias"],
    );
    assert_eq!(names(official.work.path()), ["checkpoint.pyth", "config.json"]);
}

#[test]
fn a_head_that_does_not_fit_leaves_no_backbone_either() {
    let official = Official::open();
    let checkpoint = official.save("checkpoint.pyth", Age::New, |name| name != "diff_head.bn2.running_var");
    let said = said(official.convert(&checkpoint, true), 65);
    assert_says(&said, &["checkpoint.pyth", "missing: diff_head.bn2.running_var"]);
    assert_eq!(names(official.work.path()), ["checkpoint.pyth", "config.json"]);
}

#[test]
fn the_fixture_without_its_token_embedding_is_refused_by_that_name() {
    let official = Official::open();
    let checkpoint = official.folder.join(OWN_FILE);
    assert_says(&said(official.convert(&checkpoint, true), 65), &["missing: token_embedding.weight"]);
}

#[test]
fn another_clip_than_the_authors_needs_its_configuration() {
    let official = Official::open();
    let clip = official.save("clip.pt", Age::New, is_of_clip);
    let mut command = convert([clip.as_path()]);
    command.arg("--into").arg(official.path("backbone")).arg("--vocabulary").arg(Official::vocabulary());
    let said = said(command, 65);
    assert_says(&said, &["visual.conv1.weight (expected [896, 3, 16, 16], is [64, 3, 16, 16])", "--config"]);
}

pub(crate) fn is_of_clip(name: &str) -> bool {
    !name.starts_with("adapter.") && !name.starts_with("diff_head")
}
