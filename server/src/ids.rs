//! Ids of models and prompt sets: what a name is made of, checked once.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest id, and longest of a model.
const MAX_LENGTH: usize = 63;
const MAX_MODEL_LENGTH: usize = 253;

/// An id of a resource: 1 to 63 of `a-z`, `0-9` and `-`, beginning with a letter; of a model, any name that Kubernetes
/// gives a resource. Safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ResourceId(String);

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no id; use 1 to 63 of a-z, 0-9 and '-', beginning with a letter, such as \"candle-line-2\""
)]
pub struct IdError {
    /// The text given.
    pub text: String,
}

/// Why a text is no id of a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no model; use 1 to 253 of a-z, 0-9, '-' and '.', beginning and ending with a letter or digit"
)]
pub struct ModelIdError {
    /// The text given.
    pub text: String,
}

impl ResourceId {
    /// Checks an id.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let first_is_letter = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if first_is_letter && text.len() <= MAX_LENGTH && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        // What was sent may be long; the message must not be.
        Err(IdError { text: text.chars().take(2 * MAX_LENGTH).collect() })
    }

    /// Checks an id of a model: 1 to 253 of `a-z`, `0-9`, `-` and `.`, the first and last of them a letter or digit.
    pub fn parse_model(text: &str) -> Result<Self, ModelIdError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends_plain = [text.bytes().next(), text.bytes().last()].map(|end| end.is_some_and(plain));
        let allowed = |byte: u8| plain(byte) || byte == b'-' || byte == b'.';
        if ends_plain == [true, true] && text.len() <= MAX_MODEL_LENGTH && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(ModelIdError { text: text.chars().take(MAX_MODEL_LENGTH).collect() })
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ResourceId {
    type Error = ModelIdError;

    fn try_from(text: String) -> Result<Self, ModelIdError> {
        Self::parse_model(&text)
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_may_be_called_as_any_resource_of_kubernetes() {
        for good in ["a", "2line", "visa.v2", "a-b.c"] {
            assert_eq!(ResourceId::parse_model(good).unwrap().as_str(), good);
        }
        for bad in ["", "A", "-a", "a-", ".a", "a.", "a/b", "a b", "../a", "ä", &"a".repeat(254)] {
            assert!(ResourceId::parse_model(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn ids_are_lower_case_and_begin_with_a_letter() {
        let longest = "a".repeat(63);
        for good in ["a", "candle", "line-2", longest.as_str()] {
            assert_eq!(ResourceId::parse(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(64);
        for bad in ["", "A", "2line", "-a", "a/b", "a b", "../a", "ä", "a.b", too_long.as_str()] {
            assert!(ResourceId::parse(bad).is_err(), "{bad:?} must be refused");
        }
    }
}
