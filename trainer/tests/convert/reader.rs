//! The reader of checkpoints: every way in which a file may hold the same tensors, and files made to do harm.

use std::error::Error as _;
use std::path::Path;

use inctrl_trainer::convert::{Checkpoint, CheckpointError, PickleError};
use proptest::prelude::*;
use tch::{Kind, Tensor};

use crate::assert_says;
use crate::file::{Age, Pickle, Stored, around, zip};

fn counting(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::arange(shape.iter().product::<i64>(), (kind, tch::Device::Cpu)).view(shape)
}

/// Opens a file of these bytes.
fn open(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.pt");
    std::fs::write(&path, bytes).unwrap();
    Checkpoint::open(&path)
}

/// Why these bytes are refused: the message and its causes.
#[track_caller]
fn refusal(bytes: &[u8]) -> String {
    let Err(error) = open(bytes) else { panic!("it must be refused") };
    error.source().map_or(error.to_string(), |cause| format!("{error}: {cause}"))
}

fn assert_equal(checkpoint: &Checkpoint, name: &str, expected: &Tensor) {
    let actual = checkpoint.read(name).unwrap();
    assert_eq!((actual.size(), actual.kind()), (expected.size(), expected.kind()), "{name}");
    assert!(actual.equal(expected), "{name} must have the values that were saved");
}

#[test]
fn both_formats_of_pytorch_hold_the_same_tensors() {
    let tensors = [
        ("float", counting(&[2, 3], Kind::Float)),
        ("half", counting(&[4], Kind::Half)),
        ("double", counting(&[1, 1, 2], Kind::Double)),
        ("steps", Tensor::from(7_i64)),
        ("nothing", counting(&[0, 3], Kind::Float)),
    ];
    let stored: Vec<Stored> = tensors.iter().map(|(name, tensor)| Stored::new(name, tensor)).collect();
    for age in [Age::Old, Age::New] {
        let pickle = Pickle::begin().state_dict(&stored, age).op(b".");
        let checkpoint = open(&around(&pickle, &stored, age)).unwrap();
        assert_eq!(checkpoint.names().count(), tensors.len(), "{age:?}");
        for (name, tensor) in &tensors {
            assert_equal(&checkpoint, name, tensor);
        }
    }
}

#[test]
fn offsets_and_strides_of_a_view_are_respected() {
    let whole = counting(&[20], Kind::Float);
    let view = |offset, shape: &[i64], strides: &[i64]| Stored {
        offset,
        shape: shape.to_vec(),
        strides: strides.to_vec(),
        ..Stored::new("view", &whole)
    };
    for (offset, shape, strides) in
        [(0, [4, 5], [1, 4]), (3, [2, 3], [5, 1]), (19, [1, 1], [7, 7]), (1, [3, 2], [6, 2])]
    {
        let stored = [view(offset, &shape, &strides)];
        for age in [Age::Old, Age::New] {
            let pickle = Pickle::begin().state_dict(&stored, age).op(b".");
            let checkpoint = open(&around(&pickle, &stored, age)).unwrap();
            assert_equal(&checkpoint, "view", &whole.as_strided(shape, strides, Some(offset)).contiguous());
        }
    }
}

#[test]
fn a_view_over_the_edge_of_its_storage_is_refused() {
    let whole = counting(&[20], Kind::Float);
    for (offset, shape, strides) in [
        (1, vec![20], vec![1]),
        (0, vec![4, 5], vec![6, 1]),
        (0, vec![2, i64::MAX], vec![1, 1]),
        (i64::MAX, vec![2], vec![i64::MAX]),
        (-1, vec![2], vec![1]),
        (5, vec![2], vec![-1]),
        (0, vec![1000], vec![0]),
        (0, vec![2, 2], vec![1]),
    ] {
        let stored = [Stored { offset, shape, strides, ..Stored::new("view", &whole) }];
        let pickle = Pickle::begin().state_dict(&stored, Age::New).op(b".");
        let message = refusal(&around(&pickle, &stored, Age::New));
        assert!(message.contains("its pickle"), "{message}");
    }
}

#[test]
fn a_global_that_tensors_do_not_need_is_refused_by_its_name() {
    let stored = [Stored::new("weight", &counting(&[2], Kind::Float))];
    for (module, name) in
        [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("numpy.core", "scalar")]
    {
        for age in [Age::Old, Age::New] {
            let call = Pickle::begin().global(module, name).op(b"(").text("touch /tmp/harm").op(b"tR.");
            let Err(CheckpointError::Pickle(PickleError::ForeignGlobal { name: named })) =
                open(&around(&call, &stored, age))
            else {
                panic!("{module}.{name} must be refused");
            };
            assert_eq!(named, format!("{module}.{name}"));
        }
    }
    // Named with the later instruction, whose module and name are values.
    let call = Pickle::begin().text("posix").text("system").op(b"\x93.");
    assert_says(&refusal(&around(&call, &stored, Age::New)), &["posix.system", "nothing was run"]);
}

#[test]
fn what_is_no_state_dict_is_told_what_one_is() {
    let stored = [Stored::new("weight", &counting(&[2], Kind::Float))];
    for (pickle, part) in [
        (Pickle::begin().int(3).op(b"."), "no dictionary"),
        (Pickle::begin().op(b"}."), "empty"),
        (Pickle::begin().op(b"}").text("epoch").int(3).op(b"s."), "\"epoch\" is no tensor"),
    ] {
        let message = refusal(&around(&pickle, &stored, Age::New));
        assert_says(&message, &[part, "holds no state dict", "model_state"]);
    }
}

#[test]
fn a_state_dict_is_found_under_what_training_scripts_wrap_around_it() {
    let tensor = counting(&[2, 2], Kind::Float);
    let stored = [Stored::new("module.adapter.fc.0.weight", &tensor)];
    for wrapper in ["model_state", "state_dict"] {
        let pickle = Pickle::begin().op(b"}(").text("epoch").int(6).text("cfg").text("SEED: 1").text(wrapper);
        let pickle = pickle.state_dict(&stored, Age::New).op(b"u.");
        let checkpoint = open(&around(&pickle, &stored, Age::New)).unwrap();
        assert_equal(&checkpoint, "adapter.fc.0.weight", &tensor);
    }
}

#[test]
fn files_of_another_kind_are_not_mistaken_for_checkpoints() {
    for bytes in [b"".as_slice(), b"PK", b"\x89PNG\r\n\x1a\n0000000000", b"cos\nsystem\n(S'x'\ntR."] {
        assert_says(&refusal(bytes), &["no PyTorch checkpoint"]);
    }
    assert_says(&refusal(&zip(&[("word/document.xml".to_owned(), b"<w/>")])), &["no data.pkl"]);
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let stored = [Stored::new("weight", &counting(&[40], Kind::Float))];
    for age in [Age::Old, Age::New] {
        let pickle = Pickle::begin().state_dict(&stored, age).op(b".");
        let whole = around(&pickle, &stored, age);
        open(&whole).unwrap();
        for length in 0..whole.len() {
            assert!(open(&whole[..length]).is_err(), "{age:?} cut to {length} of {} bytes", whole.len());
        }
    }
}

#[test]
fn a_compressed_member_is_refused_by_its_name() {
    let stored = [Stored::new("weight", &counting(&[2], Kind::Float))];
    let pickle = Pickle::begin().state_dict(&stored, Age::New).op(b".");
    let mut bytes = around(&pickle, &stored, Age::New);
    let entry = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes[entry + 10] = 8;
    assert_says(&refusal(&bytes), &["archive/data.pkl", "compressed (method 8)"]);
}

#[test]
fn the_authors_checkpoint_holds_the_tensors_of_its_twin() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/official-parity");
    let checkpoint = Checkpoint::open(&folder.join("official_layout.pyth")).unwrap();
    let twin = Tensor::read_safetensors(folder.join("model.f16.safetensors")).unwrap();
    for (name, expected) in &twin {
        if name == "token_embedding.weight" {
            assert!(!checkpoint.contains(name), "the fixture leaves the largest tensor out");
            continue;
        }
        let kind = if expected.is_floating_point() { Kind::Float } else { Kind::Int64 };
        assert_equal(&checkpoint, name, &expected.to_kind(kind));
    }
    assert_eq!(checkpoint.names().count() + 1, twin.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever stands in a file, reading it ends with an answer.
    #[test]
    fn a_damaged_byte_never_brings_the_reader_down(
        place in any::<prop::sample::Index>(), value in any::<u8>(), is_old in any::<bool>(),
    ) {
        let age = if is_old { Age::Old } else { Age::New };
        let stored = [Stored::new("weight", &counting(&[3, 2], Kind::Float))];
        let pickle = Pickle::begin().state_dict(&stored, age).op(b".");
        let mut bytes = around(&pickle, &stored, age);
        let place = place.index(bytes.len());
        bytes[place] = value;
        if let Ok(checkpoint) = open(&bytes) {
            let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
            for name in names {
                let _ = checkpoint.read(&name);
            }
        }
    }
}
