//! Token ids against those of the authors' tokenizer.
#![expect(clippy::unwrap_used, reason = "what a test cannot do must fail it")]

#[expect(dead_code, reason = "each test binary uses its part of the shared support")]
mod support;

use std::collections::HashMap;
use std::io::Read;

use flate2::read::GzDecoder;
use inctrl_model::Tokenizer;
use serde::Deserialize;
use support::{parity_folders, vocabulary_folder};

const VOCABULARY_SIZE: usize = 49_408;
const CONTEXT: usize = 77;

fn tokenizer() -> Tokenizer {
    Tokenizer::open(&vocabulary_folder(), VOCABULARY_SIZE).unwrap()
}

/// What the authors' tokenizer says; start and end token left out.
const GOLDEN: [(&str, &[i64]); 8] = [
    ("a cropped photo of the candle.", &[320, 31139, 1125, 539, 518, 12674, 269]),
    ("a photo without airplane for anomaly detection.", &[320, 1125, 2193, 16451, 556, 46811, 16220, 269]),
    ("a close-up photo of a flawless pcb1.", &[320, 2660, 268, 705, 1125, 539, 320, 15531, 26235, 272, 269]),
    (
        "a jpeg corrupted photo of the damaged macaroni2.",
        &[320, 73, 11207, 30429, 775, 1125, 539, 518, 13568, 41824, 273, 269],
    ),
    ("a photo of the SDD for anomaly detection.", &[320, 1125, 539, 518, 3080, 323, 556, 46811, 16220, 269]),
    ("a photo of the metal nut without damage.", &[320, 1125, 539, 518, 4044, 6491, 2193, 6822, 269]),
    ("  Héllo &amp; world!! 123 ", &[71, 3459, 19293, 261, 1002, 748, 272, 273, 274]),
    ("", &[]),
];

#[test]
fn golden_texts_have_their_ids() {
    let tokenizer = tokenizer();
    for (text, inner) in GOLDEN {
        let expected = [&[49406], inner, &[49407]].concat();
        assert_eq!(tokenizer.encode(text, CONTEXT), expected, "ids of {text:?}");
    }
}

/// An entry of `open_clip_tokens.json`, written by `tests/oracles/open_clip_tokens.py`.
#[derive(Deserialize)]
struct Entry {
    text: String,
    ids: Vec<i64>,
}

#[test]
fn texts_of_every_kind_have_the_ids_of_open_clip() {
    let path = vocabulary_folder().join("open_clip_tokens.json");
    let entries: Vec<Entry> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let tokenizer = tokenizer();
    let wrong: Vec<&str> = entries
        .iter()
        .filter(|entry| tokenizer.encode(&entry.text, CONTEXT) != entry.ids)
        .map(|entry| entry.text.as_str())
        .collect();
    assert!(wrong.is_empty(), "ids must agree for {wrong:#?}");
}

#[test]
fn texts_of_the_parity_folders_have_the_authors_ids() {
    let tokenizer = tokenizer();
    for folder in parity_folders() {
        let context = folder.expected.config["text_cfg"]["context_length"].as_u64().unwrap() as usize;
        for (text, expected) in &folder.expected.tokens {
            let mut ids = tokenizer.encode(text, context);
            ids.resize(context, 0);
            assert_eq!(&ids, expected, "ids of {text:?} in {}", folder.path.display());
        }
    }
}

#[test]
fn a_text_of_77_tokens_is_kept_and_a_longer_one_ends_with_the_end_token() {
    let tokenizer = tokenizer();
    let fitting = tokenizer.encode(&"a ".repeat(75), CONTEXT);
    assert_eq!((fitting.len(), fitting[75], fitting[76]), (77, 320, 49407));
    assert_eq!(tokenizer.encode(&"a ".repeat(76), CONTEXT), fitting, "the 76th word must be cut");
}

#[test]
fn the_hubs_vocabulary_file_gives_the_same_ids() {
    let hub = tempfile::tempdir().unwrap();
    let packed = std::fs::File::open(vocabulary_folder().join("bpe_simple_vocab_16e6.txt.gz")).unwrap();
    let mut lines = String::new();
    GzDecoder::new(packed).read_to_string(&mut lines).unwrap();
    for spaced in [true, false] {
        std::fs::write(hub.path().join("tokenizer.json"), hub_file(&lines, spaced)).unwrap();
        let from_hub = Tokenizer::open(hub.path(), VOCABULARY_SIZE).unwrap();
        for (text, _) in GOLDEN {
            assert_eq!(from_hub.encode(text, CONTEXT), tokenizer().encode(text, CONTEXT), "ids of {text:?}");
        }
    }
}

/// `tokenizer.json` of the same merges, written in the older (`"a b"`) or newer (`["a", "b"]`) form.
fn hub_file(lines: &str, spaced: bool) -> String {
    let merges: Vec<[&str; 2]> = lines
        .lines()
        .skip(1)
        .take(VOCABULARY_SIZE - 514)
        .map(|line| line.split_once(' ').unwrap().into())
        .collect();
    let printing = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let visible = (0..256).filter(|&byte| printing(byte));
    let stand_ins = (256..).take((0..256).filter(|&byte| !printing(byte)).count());
    let bytes: Vec<String> =
        visible.chain(stand_ins).map(|code| char::from_u32(code).unwrap().to_string()).collect();
    let ends = bytes.iter().map(|byte| format!("{byte}</w>"));
    let tokens = bytes.iter().cloned().chain(ends).chain(merges.iter().map(|merge| merge.concat()));
    let special = ["<|startoftext|>", "<|endoftext|>"].map(str::to_owned);
    let vocab: HashMap<String, usize> = tokens.chain(special).zip(0..).collect();
    let merges = if spaced {
        serde_json::json!(merges.iter().map(|merge| merge.join(" ")).collect::<Vec<_>>())
    } else {
        serde_json::json!(merges)
    };
    serde_json::json!({ "model": { "type": "BPE", "vocab": vocab, "merges": merges } }).to_string()
}

#[test]
fn a_folder_without_a_vocabulary_is_refused_naming_the_files() {
    let empty = tempfile::tempdir().unwrap();
    let error = Tokenizer::open(empty.path(), VOCABULARY_SIZE).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json") && error.contains("bpe_simple_vocab_16e6.txt.gz"), "{error}");
}
