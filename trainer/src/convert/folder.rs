//! A backbone folder out of a checkpoint: filled beside its place, opened strictly, then renamed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use inctrl_model::BackboneInfo;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::{Value, json};
use tch::{Kind, Tensor};
use tempfile::TempDir;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::layout::is_of_backbone;
use super::{ConvertError, open_backbone};

/// Names of a CLIP folder, as the Hub has them.
const CLIP_CONFIG: &str = "open_clip_config.json";
const CLIP_WEIGHTS: &str = "open_clip_model.safetensors";
const VOCABULARIES: [&str; 2] = ["bpe_simple_vocab_16e6.txt.gz", "tokenizer.json"];

/// Names of a starter folder.
const STARTER_CONFIG: &str = "backbone_config.json";
const STARTER_WEIGHTS: &str = "model.safetensors";

/// What a CLIP folder holds besides its weights.
pub(super) struct Clip {
    config: Value,
    vocabulary: PathBuf,
    vocabulary_name: &'static str,
}

impl Clip {
    /// The configuration (without one: ViT-B-16-plus-240, the authors' backbone) and the vocabulary.
    pub(super) fn read(config: Option<&Path>, vocabulary: Option<&Path>) -> Result<Self, ConvertError> {
        let vocabulary = vocabulary.ok_or(ConvertError::NoVocabulary)?;
        let vocabulary_name = VOCABULARIES
            .into_iter()
            .find(|name| vocabulary.ends_with(name))
            .ok_or_else(|| ConvertError::UnknownVocabulary { path: vocabulary.to_owned() })?;
        let config = config.map_or_else(|| Ok(vit_b_16_plus_240()), read_config)?;
        Ok(Self { config, vocabulary: vocabulary.to_owned(), vocabulary_name })
    }
}

/// `open_clip_config.json`, or its `model_cfg` alone.
fn read_config(path: &Path) -> Result<Value, ConvertError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConvertError::ReadFile { path: path.to_owned(), source })?;
    let config: serde_json::Map<String, Value> = serde_json::from_str(&text)
        .map_err(|source| ConvertError::Config { path: path.to_owned(), source })?;
    let is_whole = config.contains_key("model_cfg");
    Ok(if is_whole { Value::Object(config) } else { json!({ "model_cfg": config, "preprocess_cfg": {} }) })
}

fn vit_b_16_plus_240() -> Value {
    json!({
        "model_cfg": {
            "embed_dim": 640,
            "vision_cfg": { "image_size": 240, "layers": 12, "width": 896, "patch_size": 16 },
            "text_cfg": { "context_length": 77, "vocab_size": 49408, "width": 640, "heads": 10, "layers": 12 },
        },
        "preprocess_cfg": {},
    })
}

/// A folder that is whole and opens, and does not have its name yet; dropped, it leaves nothing behind.
pub(super) struct StagedFolder {
    /// Beside `into`, on the same disk.
    staging: TempDir,
    into: PathBuf,
    info: BackboneInfo,
}

/// Name of the folder within its staging folder.
const STAGED: &str = "backbone";

impl StagedFolder {
    /// Fills a folder with the backbone's tensors of `checkpoint`: a CLIP's with `clip`, else the starter backbone's.
    pub(super) fn fill(
        path: &Path,
        checkpoint: &Checkpoint,
        clip: Option<&Clip>,
        into: &Path,
    ) -> Result<Self, ConvertError> {
        if into.exists() {
            return Err(ConvertError::Exists { path: into.to_owned() });
        }
        let write_error = |source| ConvertError::Write { path: into.to_owned(), source };
        let parent = parent(into);
        std::fs::create_dir_all(parent).map_err(write_error)?;
        let staging =
            tempfile::Builder::new().prefix(".converting-").tempdir_in(parent).map_err(write_error)?;
        let folder = staging.path().join(STAGED);
        std::fs::create_dir(&folder).map_err(write_error)?;
        let (config_name, config, weights_name) = match clip {
            Some(Clip { config, vocabulary, vocabulary_name }) => {
                let bytes = std::fs::read(vocabulary)
                    .map_err(|source| ConvertError::ReadFile { path: vocabulary.clone(), source })?;
                write_file(&folder.join(vocabulary_name), &bytes).map_err(write_error)?;
                (CLIP_CONFIG, config.clone(), CLIP_WEIGHTS)
            }
            None => (STARTER_CONFIG, starter_config(path), STARTER_WEIGHTS),
        };
        write_file(&folder.join(config_name), format!("{config:#}\n").as_bytes()).map_err(write_error)?;
        write_weights(path, checkpoint, &folder.join(weights_name), into)?;
        let info = open_backbone(&folder)
            .map_err(|source| ConvertError::DoesNotFit { path: path.to_owned(), source })?;
        Ok(Self { staging, into: into.to_owned(), info })
    }

    /// What the folder holds.
    pub(super) fn info(&self) -> &BackboneInfo {
        &self.info
    }

    /// Gives the folder its name.
    pub(super) fn publish(self) -> Result<(), ConvertError> {
        let Self { staging, into, info: _ } = self;
        let sync = || File::open(parent(&into))?.sync_all();
        std::fs::rename(staging.path().join(STAGED), &into)
            .and_then(|()| sync())
            .map_err(|source| ConvertError::Write { path: into.clone(), source })
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What the starter backbone is, and for people: what it was made from.
fn starter_config(checkpoint: &Path) -> Value {
    let name = checkpoint.file_name().map(|name| name.to_string_lossy().into_owned());
    json!({ "architecture": "efficientnet-lite0", "converted_from": name })
}

fn write_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Streams the backbone's tensors into a safetensors file, one at a time.
fn write_weights(
    path: &Path,
    checkpoint: &Checkpoint,
    weights: &Path,
    into: &Path,
) -> Result<(), ConvertError> {
    let write_error = |source| ConvertError::Write { path: into.to_owned(), source };
    let names: Vec<&str> = checkpoint.names().filter(|name| is_of_backbone(name)).collect();
    let header = header(checkpoint, &names);
    let mut file =
        File::create_new(weights).map(|file| BufWriter::with_capacity(1 << 20, file)).map_err(write_error)?;
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(write_error)?;
    file.write_all(&header).map_err(write_error)?;
    for name in names {
        let tensor = read(path, checkpoint, name)?;
        let (_, kind) = checkpoint.describe(name).storage.dtype.stored();
        file.write_all(&bytes_of(&tensor, kind)).map_err(write_error)?;
    }
    file.into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .map_err(write_error)
}

/// The header of a safetensors file of these tensors, in this order; padded so that numbers are aligned.
fn header(checkpoint: &Checkpoint, names: &[&str]) -> Vec<u8> {
    let mut end = 0;
    let mut describe = |name: &&str| {
        let tensor = checkpoint.describe(name);
        let (dtype, _) = tensor.storage.dtype.stored();
        let start = end;
        end += tensor.count() * dtype.bitsize() / 8;
        let info = TensorInfo { dtype, shape: tensor.shape.clone(), data_offsets: (start, end) };
        ((*name).to_owned(), info)
    };
    let metadata = Metadata::new(None, names.iter().map(&mut describe).collect())
        .expect("offsets follow one another and fit the shapes");
    let mut header = serde_json::to_vec(&metadata).expect("names, numbers and formats have a JSON form");
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

/// What the backbone in `folder` is; fails where a CLIP tensor of the checkpoint is not its own.
pub(super) fn compare(
    path: &Path,
    checkpoint: &Checkpoint,
    folder: &Path,
) -> Result<BackboneInfo, ConvertError> {
    let info = open_backbone(folder)
        .map_err(|source| ConvertError::Backbone { folder: folder.to_owned(), source })?;
    let weights = folder.join(CLIP_WEIGHTS);
    let theirs: HashMap<String, Tensor> = Tensor::read_safetensors(&weights)
        .map_err(|error| ConvertError::ReadFile { path: weights, source: std::io::Error::other(error) })?
        .into_iter()
        .collect();
    let mut names = Vec::new();
    for name in checkpoint.names().filter(|name| is_of_backbone(name)) {
        let ours = read(path, checkpoint, name)?.to_kind(Kind::Float);
        let same = theirs
            .get(name)
            .is_some_and(|theirs| theirs.size() == ours.size() && theirs.to_kind(Kind::Float).equal(&ours));
        if !same {
            names.push(name.to_owned());
        }
    }
    let (path, backbone) = (path.to_owned(), folder.to_owned());
    if names.is_empty() { Ok(info) } else { Err(ConvertError::OtherBackbone { path, backbone, names }) }
}

/// One tensor of the checkpoint at `path`.
pub(super) fn read(path: &Path, checkpoint: &Checkpoint, name: &str) -> Result<Tensor, ConvertError> {
    let refused = |source: CheckpointError| ConvertError::Checkpoint { path: path.to_owned(), source };
    checkpoint.read(name).map_err(refused)
}

fn bytes_of(tensor: &Tensor, kind: Kind) -> Vec<u8> {
    let tensor = tensor.to_kind(kind);
    let mut bytes = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}
