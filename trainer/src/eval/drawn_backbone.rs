//! The random backbone: the same architecture with drawn weights, as a folder that opens like any other.

use std::collections::BTreeMap;
use std::path::Path;

use rand::Rng as _;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

use super::draws;
use super::error::EvalError;

/// A folder like `original`, every weight of its safetensors files drawn anew from `seed`.
///
/// Products have mean 0 and variance 1 / fan-in, normalisations start as the identity: how such layers are
/// initialised before any training.
pub(super) fn folder(original: &Path, seed: u64) -> Result<TempDir, EvalError> {
    copy(original, seed)
        .map_err(|error| EvalError::DrawnBackbone { folder: original.to_owned(), reason: error.to_string() })
}

fn copy(original: &Path, seed: u64) -> Result<TempDir, Box<dyn std::error::Error>> {
    let folder = tempfile::Builder::new().prefix("inctrl-random-backbone-").tempdir()?;
    for entry in std::fs::read_dir(original)? {
        let path = entry?.path();
        let Some(name) = path.file_name().filter(|_| path.is_file()) else { continue };
        let copy = folder.path().join(name);
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            std::fs::write(&copy, drawn(&std::fs::read(&path)?, seed)?)?;
        } else {
            std::fs::copy(&path, &copy)?;
        }
    }
    Ok(folder)
}

/// The same names and shapes with drawn values, float32; what is not a float stays.
fn drawn(bytes: &[u8], seed: u64) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for (name, view) in file.iter() {
        let shape = view.shape().to_vec();
        let is_float = matches!(view.dtype(), Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64);
        let (dtype, values) = if is_float {
            (Dtype::F32, values(name, &shape, seed))
        } else {
            (view.dtype(), view.data().to_vec())
        };
        tensors.insert(name.to_owned(), (dtype, shape, values));
    }
    let views: Result<Vec<(&str, TensorView<'_>)>, safetensors::SafeTensorError> = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| {
            Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), data)?))
        })
        .collect();
    safetensors::serialize(views?, None)
}

fn values(name: &str, shape: &[usize], seed: u64) -> Vec<u8> {
    let count: usize = shape.iter().product();
    let constant = |value: f32| value.to_le_bytes().repeat(count);
    if name.ends_with("running_var") {
        return constant(1.0);
    }
    if name.ends_with("bias") || name.ends_with("running_mean") {
        return constant(0.0);
    }
    if shape.len() < 2 && name.ends_with("weight") {
        return constant(1.0);
    }
    // Projections that stand on the right of a product have their input first, all other weights have it behind.
    let input_first = name.ends_with("proj") || name.ends_with("projection");
    let fan_in = match shape {
        [] | [_] => 1,
        [first, ..] if input_first => *first,
        [_, rest @ ..] => rest.iter().product(),
    };
    let deviation = (1.0 / fan_in as f64).sqrt();
    let mut rng = draws::stream(seed, &format!("random backbone/{name}"));
    let uniform = 3.0_f64.sqrt() * deviation;
    (0..count).flat_map(|_| (rng.random_range(-uniform..uniform) as f32).to_le_bytes()).collect()
}
