//! A pickle reader that can build tensors' descriptions and plain values, and nothing else.
//!
//! A pickle is a program; Python's reader calls whatever it names. This one knows the few globals that a state dict
//! needs and refuses every other by name, so that reading a checkpoint never runs anything. Values live in an arena,
//! because a pickle fills a container after it was remembered.

use std::collections::HashMap;
use std::io::Read;

use super::dtype::DType;

mod arena;
mod tensor;

pub(super) use arena::{Arena, Id, Node};
pub(super) use tensor::{StorageRef, TensorRef};

/// A state dict of some hundred tensors takes some ten thousand nodes.
const MOST_NODES: usize = 4_000_000;

/// Longest text or number, in bytes: names of tensors, a configuration dumped as text.
const LONGEST_TEXT: usize = 16 << 20;

/// Why a pickle cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// It names a function or type that a state dict does not need.
    #[error(
        "its pickle names {name}, which is not one of the types that tensors need; nothing was run. Save the plain \
         state dict: torch.save(model.state_dict(), path)"
    )]
    ForeignGlobal {
        /// Module and name.
        name: String,
    },
    /// It uses an instruction that a state dict does not need.
    #[error("its pickle has the instruction {opcode:#04x}, which a state dict does not need")]
    UnknownInstruction {
        /// The byte.
        opcode: u8,
    },
    /// It ends, or a value is not what its place asks for.
    #[error("its pickle is damaged: {reason}; fetch the file again")]
    Damaged {
        /// Where and how.
        reason: String,
    },
    /// It is larger than any state dict.
    #[error("its pickle is no state dict: more than {limit} {what}")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// How many are read.
        limit: usize,
    },
    /// A tensor is described in a way that is not understood.
    #[error("{what} of its pickle cannot be used: {reason}")]
    Unsupported {
        /// What it is.
        what: &'static str,
        /// Why not.
        reason: String,
    },
}

/// Globals that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(DType),
}

impl Global {
    fn named(module: &str, name: &str) -> Result<Self, PickleError> {
        match (module, name) {
            ("collections", "OrderedDict") => Ok(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Ok(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Ok(Self::RebuildParameter),
            ("torch", storage) if let Some(dtype) = DType::of_storage(storage) => Ok(Self::Storage(dtype)),
            _ => Err(PickleError::ForeignGlobal { name: format!("{module}.{name}") }),
        }
    }
}

/// Reads one pickle; `input` then stands behind it.
pub(super) fn read(input: &mut impl Read) -> Result<(Arena, Id), PickleError> {
    let mut machine = Machine {
        input,
        arena: Arena::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let root = machine.run()?;
    Ok((machine.arena, root))
}

/// The stack machine that a pickle is written for.
struct Machine<'a, R> {
    input: &'a mut R,
    arena: Arena,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<R: Read> Machine<'_, R> {
    fn run(&mut self) -> Result<Id, PickleError> {
        loop {
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), PickleError> {
        match opcode {
            0x80 => self.byte().map(drop),
            0x95 => self.bytes::<8>().map(drop),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'q' => self.byte().and_then(|key| self.remember(key.into())),
            b'r' => self.bytes().and_then(|key| self.remember(u32::from_le_bytes(key))),
            0x94 => self.remember(self.memo.len() as u32),
            b'h' => self.byte().and_then(|key| self.recall(key.into())),
            b'j' => self.bytes().and_then(|key| self.recall(u32::from_le_bytes(key))),
            b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | 0x8a | b'G' | b'X' | 0x8c | b'T' | b'U' => {
                self.constant(opcode)
            }
            b'}' => self.push(Node::Dict(Vec::new())),
            b']' => self.push(Node::List(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            b't' => self.since_mark().and_then(|items| self.push(Node::Tuple(items))),
            0x85..=0x87 => {
                self.top(usize::from(opcode - 0x84)).and_then(|items| self.push(Node::Tuple(items)))
            }
            b's' => self.top(2).and_then(|pair| self.set_items(&pair)),
            b'u' => self.since_mark().and_then(|pairs| self.set_items(&pairs)),
            b'a' => self.top(1).and_then(|items| self.append(items)),
            b'e' => self.since_mark().and_then(|items| self.append(items)),
            b'c' | 0x93 => self.global(opcode),
            b'Q' => self.storage(),
            b'R' => self.reduce(),
            b'b' => self.build(),
            opcode => Err(PickleError::UnknownInstruction { opcode }),
        }
    }

    /// Numbers, texts and the like.
    fn constant(&mut self, opcode: u8) -> Result<(), PickleError> {
        let node = match opcode {
            b'K' => Node::Int(self.byte()?.into()),
            b'M' => Node::Int(u16::from_le_bytes(self.bytes()?).into()),
            b'J' => Node::Int(i32::from_le_bytes(self.bytes()?).into()),
            0x8a => Node::Int(self.long()?),
            b'G' => self.bytes::<8>().map(|_| Node::Other)?,
            b'X' | b'T' => {
                let length = u32::from_le_bytes(self.bytes()?);
                Node::Text(self.text(length as usize)?)
            }
            0x8c | b'U' => {
                let length = self.byte()?;
                Node::Text(self.text(length.into())?)
            }
            // None, True, False.
            _ => Node::Other,
        };
        self.push(node)
    }

    fn global(&mut self, opcode: u8) -> Result<(), PickleError> {
        let (module, name) = if opcode == b'c' {
            (self.line()?, self.line()?)
        } else {
            let pair = self.top(2)?;
            (self.arena.text(pair[0])?.to_owned(), self.arena.text(pair[1])?.to_owned())
        };
        Global::named(&module, &name).and_then(|global| self.push(Node::Global(global)))
    }

    /// A persistent identifier: the storage of a tensor.
    fn storage(&mut self) -> Result<(), PickleError> {
        let id = self.pop()?;
        let storage = tensor::storage(&self.arena, id)?;
        self.push(Node::Storage(storage))
    }

    /// Calls one of the known globals.
    fn reduce(&mut self) -> Result<(), PickleError> {
        let arguments = self.pop()?;
        let called = self.pop()?;
        let global = self.arena.global(called)?;
        let node = match global {
            Global::OrderedDict => Node::Dict(Vec::new()),
            Global::RebuildTensor => Node::Tensor(tensor::tensor(&self.arena, arguments)?),
            Global::RebuildParameter => Node::Tensor(tensor::parameter(&self.arena, arguments)?),
            Global::Storage(_) => return Err(damaged("a storage is called like a function")),
        };
        self.push(node)
    }

    /// Attributes of an object: a state dict carries `_metadata`, which no tensor depends on.
    fn build(&mut self) -> Result<(), PickleError> {
        let _attributes = self.pop()?;
        let object = *self.stack.last().ok_or_else(|| damaged("attributes of nothing"))?;
        match self.arena.get(object) {
            Node::Dict(_) => Ok(()),
            _ => Err(damaged("attributes of what is no dictionary")),
        }
    }

    fn set_items(&mut self, pairs: &[Id]) -> Result<(), PickleError> {
        let container = *self.stack.last().ok_or_else(|| damaged("items of nothing"))?;
        let Node::Dict(entries) = self.arena.get_mut(container) else {
            return Err(damaged("items of what is no dictionary"));
        };
        let (pairs, odd) = pairs.as_chunks::<2>();
        entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
        if odd.is_empty() { Ok(()) } else { Err(damaged("a key without a value")) }
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), PickleError> {
        let container = *self.stack.last().ok_or_else(|| damaged("items of nothing"))?;
        let Node::List(entries) = self.arena.get_mut(container) else {
            return Err(damaged("items of what is no list"));
        };
        entries.extend(items);
        Ok(())
    }

    fn push(&mut self, node: Node) -> Result<(), PickleError> {
        if self.arena.len() >= MOST_NODES {
            return Err(PickleError::TooLarge { what: "values", limit: MOST_NODES });
        }
        self.stack.push(self.arena.add(node));
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        self.stack.pop().ok_or_else(|| damaged("a value is missing on its stack"))
    }

    /// The topmost `count` values, in order.
    fn top(&mut self, count: usize) -> Result<Vec<Id>, PickleError> {
        let from = self.stack.len().checked_sub(count);
        from.map(|from| self.stack.split_off(from)).ok_or_else(|| damaged("a value is missing on its stack"))
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len());
        mark.map(|mark| self.stack.split_off(mark)).ok_or_else(|| damaged("a mark is missing on its stack"))
    }

    fn remember(&mut self, key: u32) -> Result<(), PickleError> {
        let top = *self.stack.last().ok_or_else(|| damaged("nothing to remember"))?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), PickleError> {
        let remembered = self.memo.get(&key).ok_or_else(|| damaged("a value was never remembered"))?;
        self.stack.push(*remembered);
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), PickleError> {
        self.input.read_exact(bytes).map_err(|error| damaged(format!("it breaks off ({error})")))
    }

    /// A whole number of up to eight bytes; the magic number of old files is longer and comes out as zero.
    fn long(&mut self) -> Result<i64, PickleError> {
        let length = usize::from(self.byte()?);
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        let negative = bytes.last().is_some_and(|&last| last >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        match wide.get_mut(..length) {
            Some(low) => low.copy_from_slice(&bytes),
            None => return Ok(0),
        }
        Ok(i64::from_le_bytes(wide))
    }

    fn text(&mut self, length: usize) -> Result<String, PickleError> {
        if length > LONGEST_TEXT {
            return Err(PickleError::TooLarge { what: "bytes in one text", limit: LONGEST_TEXT });
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| damaged("a text is not UTF-8"))
    }

    fn line(&mut self) -> Result<String, PickleError> {
        /// No module or name is longer.
        const LONGEST_LINE: usize = 256;
        let mut bytes = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => break,
                _ if bytes.len() >= LONGEST_LINE => return Err(damaged("a name does not end")),
                byte => bytes.push(byte),
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn damaged(reason: impl Into<String>) -> PickleError {
    PickleError::Damaged { reason: reason.into() }
}
