//! Files of torch.save, of both ages, written byte for byte.

use std::path::Path;

use tch::{Kind, Tensor};

/// A tensor as a view of its own storage.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) dtype: &'static str,
    /// Numbers in the storage, and their bytes.
    pub(crate) count: usize,
    pub(crate) bytes: Vec<u8>,
    pub(crate) offset: i64,
    pub(crate) shape: Vec<i64>,
    pub(crate) strides: Vec<i64>,
}

impl Stored {
    /// A contiguous tensor, in its own number format.
    pub(crate) fn new(name: &str, tensor: &Tensor) -> Self {
        let dtype = match tensor.kind() {
            Kind::Float => "FloatStorage",
            Kind::Half => "HalfStorage",
            Kind::Double => "DoubleStorage",
            Kind::Int64 => "LongStorage",
            other => panic!("{other:?} is not written here"),
        };
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.contiguous().copy_data_u8(&mut bytes, tensor.numel());
        let shape = tensor.size();
        let mut strides = vec![1; shape.len()];
        for i in (1..shape.len()).rev() {
            strides[i - 1] = strides[i] * shape[i];
        }
        Self { name: name.to_owned(), dtype, count: tensor.numel(), bytes, offset: 0, shape, strides }
    }
}

/// Instructions of a pickle.
#[derive(Default)]
pub(crate) struct Pickle(pub(crate) Vec<u8>);

impl Pickle {
    pub(crate) fn begin() -> Self {
        Self(vec![0x80, 2])
    }

    pub(crate) fn op(mut self, opcodes: &[u8]) -> Self {
        self.0.extend(opcodes);
        self
    }

    pub(crate) fn global(self, module: &str, name: &str) -> Self {
        self.op(format!("c{module}\n{name}\n").as_bytes())
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.op(b"X").op(&(text.len() as u32).to_le_bytes()).op(text.as_bytes())
    }

    /// A number of eight bytes.
    pub(crate) fn int(self, value: i64) -> Self {
        self.op(b"\x8a\x08").op(&value.to_le_bytes())
    }

    pub(crate) fn ints(self, values: &[i64]) -> Self {
        values.iter().fold(self.op(b"("), |pickle, &value| pickle.int(value)).op(b"t")
    }

    pub(crate) fn ordered_dict(self) -> Self {
        self.global("collections", "OrderedDict").op(b")R")
    }

    fn tensor(self, tensor: &Stored, key: usize, age: Age) -> Self {
        let storage = self
            .global("torch._utils", "_rebuild_tensor_v2")
            .op(b"((")
            .text("storage")
            .global("torch", tensor.dtype)
            .text(&key.to_string())
            .text("cuda:0")
            .int(tensor.count as i64)
            .op(if age == Age::Old { b"N" } else { b"" })
            .op(b"tQ");
        storage
            .int(tensor.offset)
            .ints(&tensor.shape)
            .ints(&tensor.strides)
            .op(b"\x89")
            .ordered_dict()
            .op(b"tR")
    }

    /// A state dict with `_metadata`, as modules save it.
    pub(crate) fn state_dict(self, tensors: &[Stored], age: Age) -> Self {
        let entries =
            tensors.iter().enumerate().fold(self.ordered_dict().op(b"("), |pickle, (key, tensor)| {
                pickle.text(&tensor.name).tensor(tensor, key, age)
            });
        entries.op(b"u}").text("_metadata").ordered_dict().op(b"sb")
    }
}

/// Which of PyTorch's two formats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Age {
    /// Pickles one after another.
    Old,
    /// A zip.
    New,
}

/// Writes a flat state dict.
pub(crate) fn write(path: &Path, tensors: &[Stored], age: Age) {
    let pickle = Pickle::begin().state_dict(tensors, age).op(b".");
    std::fs::write(path, around(&pickle, tensors, age)).unwrap();
}

/// The file around a pickle.
pub(crate) fn around(pickle: &Pickle, tensors: &[Stored], age: Age) -> Vec<u8> {
    match age {
        Age::Old => old(pickle, tensors),
        Age::New => new(pickle, tensors),
    }
}

fn old(pickle: &Pickle, tensors: &[Stored]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e".to_vec();
    file.extend(b"\x80\x02M\xe9\x03.");
    file.extend(b"\x80\x02}.");
    file.extend(&pickle.0);
    let keys = (0..tensors.len()).fold(Pickle::begin().op(b"]("), |list, key| list.text(&key.to_string()));
    file.extend(keys.op(b"e.").0);
    for tensor in tensors {
        file.extend((tensor.count as u64).to_le_bytes());
        file.extend(&tensor.bytes);
    }
    file
}

fn new(pickle: &Pickle, tensors: &[Stored]) -> Vec<u8> {
    let mut members = vec![("archive/data.pkl".to_owned(), pickle.0.as_slice())];
    let storages = tensors.iter().enumerate();
    members.extend(storages.map(|(key, tensor)| (format!("archive/data/{key}"), tensor.bytes.as_slice())));
    members.push(("archive/version".to_owned(), b"3\n"));
    zip(&members)
}

/// A zip of stored members.
pub(crate) fn zip(members: &[(String, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let header = file.len() as u32;
        let sizes = [(bytes.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat();
        let lengths = [(name.len() as u16).to_le_bytes(), [0; 2]].concat();
        // Version, flags, method, time, date, checksum.
        let common = [[20, 0, 0, 0, 0, 0, 0, 0, 0, 0].as_slice(), &[0; 4], &sizes, &lengths].concat();
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(name.as_bytes());
        file.extend(*bytes);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(header.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, count) = (file.len() as u32, (members.len() as u16).to_le_bytes());
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count, count].concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}
