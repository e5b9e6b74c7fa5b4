//! What the parity tests share: the folders with answers of the authors' code, and backbone folders made of them.

pub(crate) mod generated;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use inctrl_model::Device;
use inctrl_model::device::DeviceChoice;
use serde::Deserialize;
use tch::{Kind, Tensor};
use tempfile::TempDir;

/// Names of the tensors of a state dict that belong to the head; all others are the backbone's.
const HEAD_PREFIXES: [&str; 3] = ["adapter.", "diff_head.", "diff_head_ref."];

/// One folder with answers of the authors' code; its README says what each file holds.
pub(crate) struct ParityFolder {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// `expected.json`.
    pub(crate) expected: Expected,
    /// `expected.safetensors`: names such as `case0/class_token`.
    pub(crate) answers: BTreeMap<String, Tensor>,
    /// `preprocess.safetensors`: names such as `pixels/q0.png`, each `[3, S, S]`.
    pub(crate) pixels: BTreeMap<String, Tensor>,
}

/// `expected.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Expected {
    /// open_clip's `model_cfg`.
    pub(crate) config: serde_json::Value,
    /// One scored query each.
    pub(crate) cases: Vec<Case>,
    /// Token ids of texts, padded.
    pub(crate) tokens: BTreeMap<String, Vec<i64>>,
}

/// One scored query.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    /// Object name.
    pub(crate) object: String,
    /// File names of the prompt set.
    pub(crate) normals: Vec<String>,
    /// File name of the query.
    pub(crate) query: String,
    /// Number of text prompts: normal, anomalous.
    pub(crate) n_texts: [usize; 2],
    pub(crate) final_score: f32,
    pub(crate) image_score: f32,
    pub(crate) text_score: f32,
    pub(crate) patch_max: f32,
    pub(crate) holistic_score: f32,
}

/// Every folder with an `expected.json`: `INCTRL_PARITY_DIR` (relative to the repository's root) or its sub-folders;
/// without the variable, `tests/data/official-parity`.
pub(crate) fn parity_folders() -> Vec<ParityFolder> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let named = std::env::var_os("INCTRL_PARITY_DIR").map(PathBuf::from);
    let base = root.join(named.unwrap_or_else(|| PathBuf::from("tests/data/official-parity")));
    let entries =
        std::fs::read_dir(&base).unwrap_or_else(|error| panic!("cannot list {}: {error}", base.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.push(base.clone());
    paths.retain(|path| path.join("expected.json").is_file());
    paths.sort();
    assert!(!paths.is_empty(), "{} must hold a folder with expected.json", base.display());
    paths.into_iter().map(ParityFolder::open).collect()
}

impl ParityFolder {
    fn open(path: PathBuf) -> Self {
        let expected = std::fs::read_to_string(path.join("expected.json")).unwrap();
        Self {
            expected: serde_json::from_str(&expected).unwrap(),
            answers: read_tensors(&path.join("expected.safetensors")),
            pixels: read_tensors(&path.join("preprocess.safetensors")),
            path,
        }
    }

    /// The whole state dict under the authors' names, float32.
    pub(crate) fn state(&self) -> BTreeMap<String, Tensor> {
        read_tensors(&self.path.join("model.f16.safetensors"))
    }

    /// The pixels of one image as a batch of one, `[1, 3, S, S]`.
    pub(crate) fn image(&self, name: &str) -> Tensor {
        self.images(std::slice::from_ref(&name.to_owned()))
    }

    /// The pixels of several images, `[B, 3, S, S]`.
    pub(crate) fn images(&self, names: &[String]) -> Tensor {
        let pixels: Vec<&Tensor> = names.iter().map(|name| &self.pixels[&format!("pixels/{name}")]).collect();
        Tensor::stack(&pixels, 0)
    }

    /// The answer `what` of the case with that index.
    pub(crate) fn answer(&self, case: usize, what: &str) -> &Tensor {
        let name = format!("case{case}/{what}");
        self.answers.get(&name).unwrap_or_else(|| panic!("{} has no {name}", self.path.display()))
    }

    /// A backbone folder, as the Hub has it, of everything in the state dict but the head.
    pub(crate) fn backbone_folder(&self) -> TempDir {
        let mut state = self.state();
        state.retain(|name, _| !HEAD_PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
        write_backbone_folder(&self.expected.config, &state)
    }

    /// The tensors of the adapter and of both score heads under the authors' names, float32.
    pub(crate) fn head_state(&self) -> BTreeMap<String, Tensor> {
        let mut state = self.state();
        state.retain(|name, _| HEAD_PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
        state
    }
}

/// All tensors of a safetensors file; floats as float32, integers as they are.
pub(crate) fn read_tensors(path: &Path) -> BTreeMap<String, Tensor> {
    let tensors =
        Tensor::read_safetensors(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let widened =
        |tensor: Tensor| if tensor.is_floating_point() { tensor.to_kind(Kind::Float) } else { tensor };
    tensors.into_iter().map(|(name, tensor)| (name, widened(tensor))).collect()
}

/// A folder with open_clip's configuration `model_cfg`, these weights and CLIP's vocabulary.
pub(crate) fn write_backbone_folder(
    model_cfg: &serde_json::Value,
    state: &BTreeMap<String, Tensor>,
) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = serde_json::json!({ "model_cfg": model_cfg, "preprocess_cfg": {} });
    std::fs::write(folder.path().join("open_clip_config.json"), config.to_string()).unwrap();
    let tensors: Vec<(&String, &Tensor)> = state.iter().collect();
    Tensor::write_safetensors(&tensors, folder.path().join("open_clip_model.safetensors")).unwrap();
    let vocabulary = "bpe_simple_vocab_16e6.txt.gz";
    std::fs::copy(vocabulary_folder().join(vocabulary), folder.path().join(vocabulary)).unwrap();
    folder
}

/// Where CLIP's vocabulary is.
pub(crate) fn vocabulary_folder() -> PathBuf {
    // From this crate or from a sibling that shares this file.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/data")
}

/// Largest absolute difference of two tensors of one shape.
pub(crate) fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size(), "shapes must agree");
    let [a, b] = [a, b].map(|tensor| tensor.to_device(Device::Cpu));
    f64::try_from((a - b).abs().max()).unwrap()
}

/// Where parity tests compute: `INCTRL_TEST_DEVICE` (`cpu`, `cuda:N`), else the CPU.
pub(crate) fn device() -> Device {
    let named = std::env::var("INCTRL_TEST_DEVICE");
    named.map_or(Device::Cpu, |name| name.parse::<DeviceChoice>().unwrap().open().unwrap().device)
}
