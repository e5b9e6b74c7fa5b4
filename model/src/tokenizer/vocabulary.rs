//! The vocabulary of a backbone's folder: `tokenizer.json` as the Hub has it, or open_clip's list of merges.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;

use super::{Merge, Tokenizer};

/// The vocabulary files, in order of preference.
pub(crate) const VOCABULARY_FILES: [&str; 2] = ["tokenizer.json", "bpe_simple_vocab_16e6.txt.gz"];

/// Largest vocabulary file that is read, unpacked, in bytes; CLIP's are below 4 MiB.
const MAX_BYTES: u64 = 32 << 20;

/// Marks the last byte of a word.
const END_OF_WORD: &str = "</w>";

/// Why a vocabulary could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VocabularyError {
    /// None of the files is there.
    #[error("{folder:?} has no vocabulary: it must hold tokenizer.json or bpe_simple_vocab_16e6.txt.gz")]
    Absent {
        /// The backbone's folder.
        folder: PathBuf,
    },
    /// The file could not be read.
    #[error("cannot read vocabulary {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is there and is no vocabulary of this backbone.
    #[error("{path:?} is no CLIP vocabulary of {size} tokens: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Tokens that the text tower knows.
        size: usize,
        /// What is wrong.
        reason: String,
    },
}

/// The part of `tokenizer.json` that defines byte-pair encoding.
#[derive(Deserialize)]
struct HubFile {
    model: HubModel,
}

#[derive(Deserialize)]
struct HubModel {
    vocab: HashMap<String, u32>,
    merges: Vec<HubMerge>,
}

/// Written as `"a b"` by older writers, as `["a", "b"]` by newer ones.
#[derive(Deserialize)]
#[serde(untagged)]
enum HubMerge {
    Spaced(String),
    Pair([String; 2]),
}

impl Tokenizer {
    /// Opens the vocabulary of `size` tokens in `folder`: `tokenizer.json`, or else `bpe_simple_vocab_16e6.txt.gz`.
    pub fn open(folder: &Path, size: usize) -> Result<Self, VocabularyError> {
        let path = VOCABULARY_FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        let path = path.ok_or_else(|| VocabularyError::Absent { folder: folder.to_owned() })?;
        let packed = path.extension().is_some_and(|extension| extension == "gz");
        let text =
            read(&path, packed).map_err(|source| VocabularyError::Read { path: path.clone(), source })?;
        let tokenizer = if packed { from_merge_list(&text, size) } else { from_hub(&text, size) };
        tokenizer.map_err(|reason| VocabularyError::Malformed { path, size, reason })
    }
}

fn read(path: &Path, packed: bool) -> std::io::Result<String> {
    let file = File::open(path)?;
    let mut text = String::new();
    if packed {
        GzDecoder::new(file).take(MAX_BYTES).read_to_string(&mut text)?;
    } else {
        file.take(MAX_BYTES).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// A heading, then one merge a line; ids count up: bytes, bytes at the end of a word, merges, start, end.
fn from_merge_list(text: &str, size: usize) -> Result<Tokenizer, String> {
    let symbols = byte_symbols();
    let count = size.checked_sub(2 * symbols.len() + 2).ok_or("too few tokens for the 256 bytes")?;
    let merges: Vec<[&str; 2]> = text.lines().skip(1).take(count).map(pair).collect::<Result<_, _>>()?;
    if merges.len() < count {
        return Err(format!("it lists {} merges, {count} are needed", merges.len()));
    }
    let bytes = symbols.iter().map(|&(_, symbol)| symbol.to_string());
    let ends = symbols.iter().map(|&(_, symbol)| format!("{symbol}{END_OF_WORD}"));
    let tokens = bytes.chain(ends).chain(merges.iter().map(|pair| pair.concat()));
    let vocabulary: HashMap<String, u32> = tokens.zip(0..).collect();
    build(&vocabulary, &merges, [size as u32 - 2, size as u32 - 1])
}

fn from_hub(text: &str, size: usize) -> Result<Tokenizer, String> {
    let HubFile { model: HubModel { vocab, merges } } =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    if let Some((token, id)) = vocab.iter().find(|&(_, &id)| id as usize >= size) {
        return Err(format!("token {token:?} has the id {id}"));
    }
    let special = |spellings: [&str; 2]| {
        let id = spellings.iter().find_map(|token| vocab.get(*token)).copied();
        id.ok_or_else(|| format!("it has no token {:?}", spellings[0]))
    };
    let ends = [
        special(["<|startoftext|>", super::START_OF_TEXT])?,
        special(["<|endoftext|>", super::END_OF_TEXT])?,
    ];
    let merges: Vec<[&str; 2]> = merges
        .iter()
        .map(|merge| match merge {
            HubMerge::Spaced(line) => pair(line),
            HubMerge::Pair([first, second]) => Ok([first.as_str(), second.as_str()]),
        })
        .collect::<Result<_, _>>()?;
    build(&vocab, &merges, ends)
}

fn pair(line: &str) -> Result<[&str; 2], String> {
    line.split_once(' ').map(|(first, second)| [first, second]).ok_or_else(|| format!("{line:?} is no merge"))
}

fn build(
    vocabulary: &HashMap<String, u32>,
    merges: &[[&str; 2]],
    ends: [u32; 2],
) -> Result<Tokenizer, String> {
    let id = |token: &str| vocabulary.get(token).copied().ok_or_else(|| format!("it has no token {token:?}"));
    let [start, end] = ends;
    let mut tokenizer = Tokenizer { inner: [0; 256], last: [0; 256], merges: HashMap::new(), start, end };
    for (byte, symbol) in byte_symbols() {
        tokenizer.inner[usize::from(byte)] = id(&symbol.to_string())?;
        tokenizer.last[usize::from(byte)] = id(&format!("{symbol}{END_OF_WORD}"))?;
    }
    for (rank, [first, second]) in merges.iter().enumerate() {
        let merge = Merge { rank, id: id(&format!("{first}{second}"))? };
        tokenizer.merges.entry((id(first)?, id(second)?)).or_insert(merge);
    }
    Ok(tokenizer)
}

/// Each byte and the visible character that stands for it in vocabularies, in the order of their ids: what prints in
/// Latin-1 stands for itself, the other bytes for the characters from U+0100 on.
fn byte_symbols() -> Vec<(u8, char)> {
    let printing = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let (visible, hidden): (Vec<u8>, Vec<u8>) = (0..=u8::MAX).partition(printing);
    let stand_ins = hidden.into_iter().zip('\u{100}'..);
    visible.into_iter().map(|byte| (byte, char::from(byte))).chain(stand_ins).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_distinct_symbols() {
        let symbols = byte_symbols();
        let distinct: std::collections::HashSet<char> = symbols.iter().map(|&(_, symbol)| symbol).collect();
        assert_eq!((symbols.len(), distinct.len()), (256, 256));
        assert_eq!(symbols[0], (b'!', '!'), "ids must begin with the exclamation mark");
        assert!(symbols.contains(&(b' ', 'Ġ')), "a space must be U+0120");
    }

    #[test]
    fn broken_vocabularies_are_refused_with_the_reason() {
        let short = from_merge_list("version\ni n\nt h\n", 49_408).unwrap_err();
        assert!(short.contains("lists 2 merges, 48894 are needed"), "{short}");
        let no_pair = from_merge_list("version\nin\n", 515).unwrap_err();
        assert!(no_pair.contains("\"in\" is no merge"), "{no_pair}");
        let empty = from_hub(r#"{"model": {"vocab": {}, "merges": []}}"#, 49_408).unwrap_err();
        assert!(empty.contains("<|startoftext|>"), "{empty}");
    }
}
