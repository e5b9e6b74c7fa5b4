//! Values of a pickle, referred to by number.

use super::tensor::{StorageRef, TensorRef};
use super::{Global, PickleError};

/// A value's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::convert) struct Id(usize);

/// A value.
#[derive(Debug)]
pub(in crate::convert) enum Node {
    Int(i64),
    Text(String),
    /// None, a truth value, a float: nothing that a tensor's description is read from.
    Other,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(StorageRef),
    Tensor(TensorRef),
}

/// All values of one pickle.
#[derive(Debug, Default)]
pub(in crate::convert) struct Arena {
    nodes: Vec<Node>,
}

impl Arena {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn add(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        Id(self.nodes.len() - 1)
    }

    /// All storages that are referred to.
    pub(in crate::convert) fn storages(&self) -> impl Iterator<Item = &StorageRef> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    pub(in crate::convert) fn get(&self, id: Id) -> &Node {
        &self.nodes[id.0]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id.0]
    }

    pub(in crate::convert) fn text(&self, id: Id) -> Result<&str, PickleError> {
        match self.get(id) {
            Node::Text(text) => Ok(text),
            other => Err(unexpected("a text", other)),
        }
    }

    pub(in crate::convert) fn list(&self, id: Id) -> Result<&[Id], PickleError> {
        match self.get(id) {
            Node::Tuple(items) | Node::List(items) => Ok(items),
            other => Err(unexpected("a sequence", other)),
        }
    }

    pub(super) fn global(&self, id: Id) -> Result<Global, PickleError> {
        match self.get(id) {
            Node::Global(global) => Ok(*global),
            other => Err(unexpected("a function", other)),
        }
    }

    /// A count, an offset or a dimension.
    pub(super) fn size(&self, id: Id) -> Result<usize, PickleError> {
        match self.get(id) {
            Node::Int(value) => usize::try_from(*value)
                .map_err(|_| PickleError::Damaged { reason: format!("a size or stride is {value}") }),
            other => Err(unexpected("a whole number", other)),
        }
    }
}

pub(super) fn unexpected(expected: &str, actual: &Node) -> PickleError {
    let actual = match actual {
        Node::Int(_) => "a number",
        Node::Text(_) => "a text",
        Node::Other => "None or a truth value",
        Node::Tuple(_) | Node::List(_) => "a sequence",
        Node::Dict(_) => "a dictionary",
        Node::Global(_) => "a type",
        Node::Storage(_) => "a storage",
        Node::Tensor(_) => "a tensor",
    };
    PickleError::Damaged { reason: format!("{actual} stands where {expected} must") }
}
