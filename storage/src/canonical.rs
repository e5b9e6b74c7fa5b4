//! Canonical JSON (RFC 8785): one byte sequence for equal values, so that digests and signatures of JSON mean
//! something. Keys sorted, no white space, numbers in their shortest form. JSON has no numbers that are not finite (they
//! become `null`): check before.

use serde::Serialize;

use crate::Digest;

/// Why a value has no canonical JSON.
#[derive(Debug, thiserror::Error)]
#[error("cannot write as canonical JSON (keys must be texts)")]
pub struct CanonicalError {
    #[source]
    source: serde_json::Error,
}

/// The canonical JSON of a value.
pub fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, CanonicalError> {
    serde_jcs::to_vec(value).map_err(|source| CanonicalError { source })
}

/// Digest of the canonical JSON of a value.
pub fn digest(value: &impl Serialize) -> Result<Digest, CanonicalError> {
    to_vec(value).map(Digest::of)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Golden vectors: another implementation, or a later version of ours, must give the same bytes and digests;
    /// run keys and signatures hang on them.
    #[rstest::rstest]
    #[case(
        json!({"b": 1, "a": [true, null, "ü\n"], "aa": {"z": 0.001, "y": 1e21}}),
        r#"{"a":[true,null,"ü\n"],"aa":{"y":1e+21,"z":0.001},"b":1}"#,
        "sha256:67cee12ee2a51a1273d18a35e60bf903a821383add64d950d040fe88eab7ab55"
    )]
    #[case(json!({}), "{}", "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")]
    #[case(json!({"x": 1.0, "y": -0.0, "z": 4.50}), r#"{"x":1,"y":0,"z":4.5}"#, "")]
    fn canonical_bytes_are_as_published(#[case] value: Value, #[case] text: &str, #[case] sha: &str) {
        assert_eq!(String::from_utf8(to_vec(&value).unwrap()).unwrap(), text);
        if !sha.is_empty() {
            assert_eq!(digest(&value).unwrap().to_string(), sha);
        }
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back_and_writes_the_same(
            entries in prop::collection::btree_map(".{0,6}", any::<(i32, f64)>(), 0..6),
        ) {
            let value = json!(entries);
            let bytes = to_vec(&value).unwrap();
            let again: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(to_vec(&again).unwrap(), bytes);
        }
    }
}
