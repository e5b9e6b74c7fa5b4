//! Where a run stands after an epoch, on disk: a run that goes on from it gives the same head, bit for bit.
//!
//! One safetensors file: `head/…` and `kept/…` hold the tensors as they are and as they were in the best epoch so
//! far, `first/…` and `second/…` the optimiser's moments; everything else is JSON in its metadata. Episodes need no
//! state: they follow from seed and epoch.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use inctrl_model::HeadKind;
use inctrl_model::tensors::{bytes_of, shape_of};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::curve::EpochRecord;
use super::error::TrainError;
use super::identity::Identity;
use super::learner::Learner;
use crate::files::{Durability, write_whole};
use crate::loss::Sigmoids;
use crate::optimiser::{AdamW, Moments};

/// Name of the checkpoint in the output folder while a run is under way.
pub const CHECKPOINT_NAME: &str = "checkpoint.safetensors";

/// Key of the file's metadata.
const METADATA_KEY: &str = "inctrl.checkpoint";

/// Version of the layout.
const FORMAT_VERSION: u32 = 1;

/// Everything that changes while a run is under way.
#[derive(Debug)]
pub struct State {
    /// The head.
    pub learner: Learner,
    /// Its optimiser.
    pub optimiser: AdamW,
    /// Epochs done.
    pub epochs: Vec<EpochRecord>,
    /// The best epoch so far, where classes are held out.
    pub kept: Option<Kept>,
}

/// Weights of an epoch.
#[derive(Debug)]
pub struct Kept {
    /// Which, counted from 1.
    pub epoch: u64,
    /// Its validation loss.
    pub loss: f32,
    /// The head's tensors after it.
    pub tensors: BTreeMap<String, Tensor>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format_version: u32,
    identity: Identity,
    steps: i32,
    epochs: Vec<EpochRecord>,
    kept: Option<(u64, f32)>,
}

/// Writes where the run of `identity` stands.
pub fn write(path: &Path, identity: &Identity, state: &State) -> Result<(), TrainError> {
    let State { learner, optimiser, epochs, kept } = state;
    let document = Document {
        format_version: FORMAT_VERSION,
        identity: identity.clone(),
        steps: optimiser.steps(),
        epochs: epochs.clone(),
        kept: kept.as_ref().map(|kept| (kept.epoch, kept.loss)),
    };
    let json = serde_json::to_string(&document).expect("finite numbers and words are JSON");
    let moments = optimiser.moments().iter();
    let (first, second): (Vec<_>, Vec<_>) =
        moments.map(|(name, Moments { first, second })| ((name, first), (name, second))).unzip();
    let parts = [
        ("head", learner.tensors().iter().collect()),
        ("kept", kept.iter().flat_map(|kept| &kept.tensors).collect()),
        ("first", first),
        ("second", second),
    ];
    let mut stored: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (part, tensors) in parts {
        let tensor = |(name, tensor): &(&String, &Tensor)| {
            (format!("{part}/{name}"), shape_of(tensor), bytes_of(tensor))
        };
        stored.extend(tensors.iter().map(tensor));
    }
    let views = stored.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        (name.as_str(), view.expect("a tensor's bytes are those of its shape"))
    });
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), json)]);
    let bytes = safetensors::serialize(views, Some(metadata))
        .expect("in-memory serialisation of valid views cannot fail");
    write_whole(path, &bytes, Durability::Durable)
        .map_err(|source| TrainError::Output { path: path.to_owned(), source })
}

/// Reads where the run of `identity` stood; `None` where there is no checkpoint. `fresh` is its state before the first
/// epoch. The checkpoint of another run is refused with what differs.
pub fn read(
    path: &Path,
    identity: &Identity,
    fresh: State,
    (kind, sigmoids): (HeadKind, Sigmoids),
) -> Result<State, TrainError> {
    let damaged = |reason: String| TrainError::Checkpoint { path: path.to_owned(), reason };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(fresh),
        Err(error) => return Err(damaged(error.to_string())),
    };
    let (document, mut tensors) = parse(&bytes).map_err(damaged)?;
    let Document { format_version: _, identity: of_file, steps, epochs, kept } = document;
    let differences = identity.differences(&of_file);
    if !differences.is_empty() {
        return Err(TrainError::OtherCheckpoint { path: path.to_owned(), differences });
    }
    let mut part = |name: &str| tensors.remove(name).unwrap_or_default();
    let (head, of_kept, first, mut second) = (part("head"), part("kept"), part("first"), part("second"));
    let shapes = |tensors: &BTreeMap<String, Tensor>| -> Vec<(String, Vec<i64>)> {
        tensors.iter().map(|(name, tensor)| (name.clone(), tensor.size())).collect()
    };
    if shapes(&head) != shapes(fresh.learner.tensors()) {
        return Err(damaged("its tensors are not those of the head".to_owned()));
    }
    let moments = first.into_iter().map(|(name, first)| {
        let second = second.remove(&name).ok_or_else(|| damaged(format!("no second/{name}")))?;
        Ok((name, Moments { first, second }))
    });
    let moments: BTreeMap<String, Moments> = moments.collect::<Result<_, TrainError>>()?;
    Ok(State {
        learner: Learner::of(kind, sigmoids, head),
        optimiser: fresh.optimiser.resumed(steps, moments),
        epochs,
        kept: kept.map(|(epoch, loss)| Kept { epoch, loss, tensors: of_kept }),
    })
}

/// Tensors by part and name.
type Parts = BTreeMap<String, BTreeMap<String, Tensor>>;

fn parse(bytes: &[u8]) -> Result<(Document, Parts), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| said(&error))?;
    let json = header.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY));
    let json = json.ok_or_else(|| format!("its metadata has no {METADATA_KEY:?}"))?;
    let document: Document = serde_json::from_str(json).map_err(|error| said(&error))?;
    if document.format_version != FORMAT_VERSION {
        return Err(format!("it has format version {}, not {FORMAT_VERSION}", document.format_version));
    }
    let mut parts = Parts::new();
    for (name, view) in SafeTensors::deserialize(bytes).map_err(|error| said(&error))?.iter() {
        let (part, name) = name.split_once('/').ok_or_else(|| format!("{name} belongs to no part"))?;
        if view.dtype() != Dtype::F32 {
            return Err(format!("{part}/{name} is not float32"));
        }
        let shape: Vec<i64> = view.shape().iter().map(|&length| length as i64).collect();
        let tensor = Tensor::from_data_size(view.data(), &shape, Kind::Float);
        parts.entry(part.to_owned()).or_default().insert(name.to_owned(), tensor);
    }
    Ok((document, parts))
}
