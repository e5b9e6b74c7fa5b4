//! A PyTorch checkpoint as named tensors, read one at a time: nothing of it is run, and no more than one tensor is in
//! memory.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use tch::Tensor;

use super::container::{self, Container};
use super::pickle::{Arena, Id, Node, PickleError, TensorRef};

/// Keys under which training scripts put the state dict.
const WRAPPERS: [&str; 2] = ["model_state", "state_dict"];

/// What data-parallel training puts before every name.
const PARALLEL_PREFIX: &str = "module.";

/// Why a checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file cannot be opened or read.
    #[error("it cannot be read")]
    Read(#[source] std::io::Error),
    /// Neither of PyTorch's formats.
    #[error("it is no PyTorch checkpoint: neither a zip nor an old torch.save file")]
    NotACheckpoint,
    /// The zip is cut short or was not written by PyTorch.
    #[error("its zip is damaged: {reason}")]
    DamagedZip {
        /// What is wrong with it.
        reason: String,
    },
    /// The pickle is refused.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// A storage is not as its tensors say.
    #[error("its storage {key:?} cannot be used: {reason}")]
    Storage {
        /// The storage's key.
        key: String,
        /// Why not.
        reason: String,
    },
    /// No state dict in it.
    #[error(
        "it holds no state dict: {reason}. Names must lead to tensors, at the top or under \"model_state\" or \
         \"state_dict\""
    )]
    NoStateDict {
        /// What is there.
        reason: String,
    },
    /// libtorch refused a tensor.
    #[error("libtorch cannot make the tensor {name}")]
    Torch {
        /// Which.
        name: String,
        /// What libtorch said.
        #[source]
        source: tch::TchError,
    },
}

/// A checkpoint whose names and shapes are known; values are still in the file.
pub struct Checkpoint {
    file: File,
    storages: HashMap<String, Range<u64>>,
    tensors: BTreeMap<String, TensorRef>,
}

impl Checkpoint {
    /// Opens a file of `torch.save`, of either format.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = File::open(path).map_err(CheckpointError::Read)?;
        let Container { arena, root, storages } = container::read(&file)?;
        let tensors = state_dict(&arena, root)?;
        let checkpoint = Self { file, storages, tensors };
        for tensor in checkpoint.tensors.values() {
            checkpoint.storage(tensor)?;
        }
        Ok(checkpoint)
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether a tensor has that name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Where and how a tensor is stored; the name must be of this checkpoint.
    pub(super) fn describe(&self, name: &str) -> &TensorRef {
        &self.tensors[name]
    }

    /// Reads one tensor; the name must be of this checkpoint.
    pub fn read(&self, name: &str) -> Result<Tensor, CheckpointError> {
        let tensor = self.describe(name);
        let storage = self.storage(tensor)?;
        let size = tensor.storage.dtype.size();
        let mut bytes = vec![0; tensor.span() * size];
        let start = storage.start + (tensor.offset * size) as u64;
        self.file.read_exact_at(&mut bytes, start).map_err(CheckpointError::Read)?;
        let view = || {
            let flat =
                Tensor::f_from_data_size(&bytes, &[tensor.span() as i64], tensor.storage.dtype.kind())?;
            let whole = |sizes: &[usize]| sizes.iter().map(|&size| size as i64).collect::<Vec<_>>();
            flat.f_as_strided(whole(&tensor.shape), whole(&tensor.strides), None)?.f_contiguous()
        };
        view().map_err(|source| CheckpointError::Torch { name: name.to_owned(), source })
    }

    /// The bytes of a tensor's storage, which must be as many as the storage's description says.
    fn storage(&self, tensor: &TensorRef) -> Result<&Range<u64>, CheckpointError> {
        let described = &tensor.storage;
        let refuse = |reason: String| CheckpointError::Storage { key: described.key.clone(), reason };
        let range = self
            .storages
            .get(&described.key)
            .ok_or_else(|| refuse("it is not in the file; fetch the file again".to_owned()))?;
        let expected = (described.count as u64).checked_mul(described.dtype.size() as u64);
        if expected == Some(range.end - range.start) {
            Ok(range)
        } else {
            let (count, actual) = (described.count, range.end - range.start);
            Err(refuse(format!("{count} numbers of {:?} do not take its {actual} bytes", described.dtype)))
        }
    }
}

/// Names to tensors: of the pickle itself, or of a dictionary that training scripts wrap around it.
fn state_dict(arena: &Arena, root: Id) -> Result<BTreeMap<String, TensorRef>, CheckpointError> {
    let no_state_dict = |reason: String| CheckpointError::NoStateDict { reason };
    let Node::Dict(top) = arena.get(root) else {
        return Err(no_state_dict("its top is no dictionary".to_owned()));
    };
    let wrapped = top.iter().find_map(|&(key, value)| {
        let wraps = arena.text(key).is_ok_and(|key| WRAPPERS.contains(&key));
        match arena.get(value) {
            Node::Dict(entries) if wraps => Some(entries),
            _ => None,
        }
    });
    let mut tensors = BTreeMap::new();
    for &(key, value) in wrapped.unwrap_or(top) {
        let name = arena.text(key)?;
        let Node::Tensor(tensor) = arena.get(value) else {
            return Err(no_state_dict(format!("{name:?} is no tensor")));
        };
        let name = name.strip_prefix(PARALLEL_PREFIX).unwrap_or(name);
        if tensors.insert(name.to_owned(), tensor.clone()).is_some() {
            return Err(no_state_dict(format!("{name:?} is there twice")));
        }
    }
    if tensors.is_empty() { Err(no_state_dict("it is empty".to_owned())) } else { Ok(tensors) }
}
