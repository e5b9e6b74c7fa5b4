//! CLIP's byte-pair tokenizer: a sentence to the token ids that the text tower takes.
//!
//! cleaned text → words (the special tokens, contractions, runs of letters, single digits, runs of anything else)
//! → bytes → pairs merged in the order of the vocabulary. The vocabulary is a file of the backbone's folder.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

mod clean;
mod vocabulary;

pub use vocabulary::VocabularyError;

/// The special tokens as they may stand in a text.
const START_OF_TEXT: &str = "<start_of_text>";
const END_OF_TEXT: &str = "<end_of_text>";

/// What is encoded as one word; an ordered choice, the first match wins.
static WORD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+")
        .expect("the pattern is a constant and compiles")
});

/// The tokenizer of a backbone.
#[derive(Debug)]
pub struct Tokenizer {
    /// Ids of the 256 bytes inside a word.
    inner: [u32; 256],
    /// Ids of the 256 bytes at the end of a word.
    last: [u32; 256],
    /// What a pair of ids becomes; the smallest rank is merged first.
    merges: HashMap<(u32, u32), Merge>,
    start: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Merge {
    rank: usize,
    id: u32,
}

impl Tokenizer {
    /// Token ids of `text` from start to end token, without padding. What is longer than `context` tokens is cut,
    /// and the last of them is the end token.
    pub fn encode(&self, text: &str, context: usize) -> Vec<i64> {
        let mut ids = vec![self.start];
        for word in WORD.find_iter(&clean::clean(text)) {
            match word.as_str() {
                START_OF_TEXT => ids.push(self.start),
                END_OF_TEXT => ids.push(self.end),
                word => ids.extend(self.encode_word(word)),
            }
        }
        ids.truncate(context.saturating_sub(1));
        ids.push(self.end);
        ids.into_iter().map(i64::from).collect()
    }

    fn encode_word(&self, word: &str) -> Vec<u32> {
        let mut ids: Vec<u32> = word.bytes().map(|byte| self.inner[usize::from(byte)]).collect();
        if let (Some(id), Some(byte)) = (ids.last_mut(), word.bytes().last()) {
            *id = self.last[usize::from(byte)];
        }
        let merge = |pair: &[u32]| self.merges.get(&(pair[0], pair[1])).copied();
        while let Some(next) = ids.windows(2).filter_map(merge).min() {
            let mut merged = Vec::with_capacity(ids.len());
            let mut rest = ids.as_slice();
            while let [first, tail @ ..] = rest {
                let pair = tail.first().and_then(|second| merge(&[*first, *second]));
                if pair == Some(next) {
                    merged.push(next.id);
                    rest = &tail[1..];
                } else {
                    merged.push(*first);
                    rest = tail;
                }
            }
            ids = merged;
        }
        ids
    }
}
