//! Descriptions of tensors: which storage, and where in it.

use super::arena::{Arena, Id, Node, unexpected};
use super::{Global, PickleError};
use crate::convert::dtype::DType;

/// A storage: a run of numbers in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::convert) struct StorageRef {
    pub(in crate::convert) key: String,
    pub(in crate::convert) dtype: DType,
    /// Numbers in it.
    pub(in crate::convert) count: usize,
}

/// A tensor as a view of a storage; `offset` and `strides` count numbers. The view lies within the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::convert) struct TensorRef {
    pub(in crate::convert) storage: StorageRef,
    pub(in crate::convert) offset: usize,
    pub(in crate::convert) shape: Vec<usize>,
    pub(in crate::convert) strides: Vec<usize>,
}

impl TensorRef {
    /// Numbers in the tensor.
    pub(in crate::convert) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Numbers of the storage from the tensor's first to its last.
    pub(in crate::convert) fn span(&self) -> usize {
        if self.count() == 0 {
            return 0;
        }
        self.shape.iter().zip(&self.strides).map(|(size, stride)| (size - 1) * stride).sum::<usize>() + 1
    }

    fn checked(self) -> Result<Self, PickleError> {
        let unsupported = |reason: String| PickleError::Unsupported { what: "a tensor", reason };
        let Self { storage, offset, shape, strides } = &self;
        if shape.len() != strides.len() {
            return Err(unsupported(format!(
                "shape {shape:?} has other dimensions than strides {strides:?}"
            )));
        }
        let count = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
        if count.is_none_or(|count| count > storage.count) {
            return Err(unsupported(format!(
                "shape {shape:?} holds more than its storage of {}",
                storage.count
            )));
        }
        let last = shape.iter().zip(strides).try_fold(*offset, |last, (&size, &stride)| {
            size.saturating_sub(1).checked_mul(stride).and_then(|step| last.checked_add(step))
        });
        if count != Some(0) && last.is_none_or(|last| last >= storage.count) {
            return Err(unsupported(format!(
                "shape {shape:?} with strides {strides:?} from {offset} on reaches over its storage of {}",
                storage.count
            )));
        }
        Ok(self)
    }
}

/// `('storage', type, key, location, count)`; old files add whether it is a view.
pub(super) fn storage(arena: &Arena, id: Id) -> Result<StorageRef, PickleError> {
    let (kind, rest) = arena.list(id)?.split_first().ok_or_else(|| missing("a storage's identifier"))?;
    let kind = arena.text(*kind)?;
    if kind != "storage" {
        let reason = format!("its kind is {kind:?}, it must be \"storage\"");
        return Err(PickleError::Unsupported { what: "a persistent identifier", reason });
    }
    let (&[dtype, key, _location, count], view) =
        rest.split_first_chunk::<4>().ok_or_else(|| missing("a storage's identifier"))?;
    if let Some(view) = view.first()
        && !matches!(arena.get(*view), Node::Other)
    {
        let reason = "it is a view of another one".to_owned();
        return Err(PickleError::Unsupported { what: "a storage", reason });
    }
    let Global::Storage(dtype) = arena.global(dtype)? else {
        return Err(unexpected("the type of a storage", arena.get(dtype)));
    };
    Ok(StorageRef { key: arena.text(key)?.to_owned(), dtype, count: arena.size(count)? })
}

/// `_rebuild_tensor_v2(storage, offset, shape, strides, …)`.
pub(super) fn tensor(arena: &Arena, arguments: Id) -> Result<TensorRef, PickleError> {
    let (&[storage, offset, shape, strides], _) =
        arena.list(arguments)?.split_first_chunk::<4>().ok_or_else(|| missing("a tensor's description"))?;
    let Node::Storage(storage) = arena.get(storage) else {
        return Err(unexpected("a storage", arena.get(storage)));
    };
    let sizes = |id| arena.list(id)?.iter().map(|&size| arena.size(size)).collect::<Result<Vec<_>, _>>();
    let storage = storage.clone();
    TensorRef { storage, offset: arena.size(offset)?, shape: sizes(shape)?, strides: sizes(strides)? }
        .checked()
}

/// `_rebuild_parameter(tensor, …)`: the tensor.
pub(super) fn parameter(arena: &Arena, arguments: Id) -> Result<TensorRef, PickleError> {
    let first = arena.list(arguments)?.first().ok_or_else(|| missing("a parameter's description"))?;
    match arena.get(*first) {
        Node::Tensor(tensor) => Ok(tensor.clone()),
        other => Err(unexpected("a tensor", other)),
    }
}

fn missing(what: &str) -> PickleError {
    PickleError::Damaged { reason: format!("{what} is too short") }
}
