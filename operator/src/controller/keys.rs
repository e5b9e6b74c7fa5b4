//! Names that follow from content: the hash of the training inputs, the key of a run, the name of its Job.
//!
//! A run is named by what goes into it, so that making it twice is making it once. The object's uid is part of the key:
//! an InCTRLModel that was deleted and made again does not find the Jobs and artifacts of the former.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use inctrl_storage::canonical;

use crate::crd::{HeadKind, Hyperparameters, InCTRLModelSpec};

/// Version of what is hashed. A change trains every model anew, so it is not changed without need.
const HASH_VERSION: u32 = 1;

/// Characters of a run key: 50 bits.
const KEY_LENGTH: usize = 10;

/// Longest part of the model's name in a Job's name, so that name, `-train-` and key fit in 63 characters.
const LONGEST_PREFIX: usize = 46;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TrainingInputs<'a> {
    version: u32,
    backbone: &'a str,
    head: HeadKind,
    /// Only what the spec says: another default image of a newer operator must not train the world anew.
    image: Option<&'a str>,
    hyperparameters: &'a Hyperparameters,
}

/// Hash of what a head is made of besides its data: 64 hexadecimal digits. Resources, deadlines, gate, rollout, serving and
/// schedule are no part of it.
pub fn spec_hash(spec: &InCTRLModelSpec) -> Result<String, canonical::CanonicalError> {
    let image = spec.training.image.as_deref();
    // An image that is given by digest is its digest, wherever it is pulled from.
    let image = image.map(|image| image.split_once("@sha256:").map_or(image, |(_, digest)| digest));
    let inputs = TrainingInputs {
        version: HASH_VERSION,
        backbone: &spec.backbone.sha256,
        head: spec.training.head,
        image,
        hyperparameters: &spec.training.hyperparameters,
    };
    Ok(canonical::digest(&inputs)?.hex())
}

/// Key of a run: ten characters of a-z and 2-7.
pub fn run_key(uid: &str, spec_hash: &str, fingerprint: &str, nonce: &str) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut hash = Sha256::new();
    for part in [uid, spec_hash, fingerprint, nonce] {
        // Lengths keep ("ab", "c") apart from ("a", "bc").
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let head = digest.iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    (0..KEY_LENGTH).map(|place| char::from(ALPHABET[(head >> (59 - 5 * place)) as usize & 31])).collect()
}

/// Name of the Job of a run: `<name>-train-<key>`, at most 63 characters.
pub fn job_name(model: &str, key: &str) -> String {
    let prefix: String = model.chars().take(LONGEST_PREFIX).collect();
    format!("{}-train-{key}", prefix.trim_end_matches(['-', '.']))
}

/// A number in 0..1 that follows from a text: jitter without chance.
pub fn spread(text: &str) -> f64 {
    let digest = Sha256::digest(text);
    let bits = digest.iter().take(4).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec() -> InCTRLModelSpec {
        serde_json::from_value(json!({
            "backbone": { "uri": "file:///b", "sha256": "a".repeat(64) },
            "training": { "dataset": { "uri": "file:///d" } },
            "gate": { "dataset": { "uri": "file:///g" }, "metrics": [] },
            "serving": { "selector": { "matchLabels": { "a": "b" } } },
            "artifacts": { "uri": "file:///a" },
        }))
        .unwrap()
    }

    /// Regression 20.
    #[test]
    fn the_hash_of_a_spec_is_the_same_in_every_version_of_the_operator() {
        assert_eq!(
            spec_hash(&spec()).unwrap(),
            "b6b6f556792f50ea5c49846febfe996825a2bc17024c965865b7c25d2a89d0d5",
            "a changed hash trains every model of every cluster anew"
        );
    }

    #[test]
    fn only_what_makes_a_head_is_hashed() {
        let base = spec_hash(&spec()).unwrap();
        let with = |change: fn(&mut InCTRLModelSpec)| {
            let mut spec = spec();
            change(&mut spec);
            spec_hash(&spec).unwrap()
        };
        assert_eq!(with(|spec| spec.suspend = true), base);
        assert_eq!(with(|spec| spec.training.backoff_limit = 9), base);
        assert_eq!(with(|spec| spec.gate.min_samples = 9), base);
        assert_ne!(with(|spec| spec.training.hyperparameters.seed = 1), base);
        assert_ne!(with(|spec| spec.training.head = HeadKind::Contextual), base);
        assert_ne!(with(|spec| spec.backbone.sha256 = "b".repeat(64)), base);
        let by_digest = |registry: &str| {
            let mut spec = spec();
            spec.training.image = Some(format!("{registry}/trainer@sha256:{}", "c".repeat(64)));
            spec_hash(&spec).unwrap()
        };
        assert_eq!(by_digest("one.example"), by_digest("two.example"));
    }

    /// Regression 19.
    #[test]
    fn a_run_key_depends_on_each_part_and_on_where_parts_end() {
        let key = run_key("uid", "spec", "data", "");
        assert_eq!(key.len(), 10);
        assert!(key.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)), "{key}");
        assert_eq!(key, run_key("uid", "spec", "data", ""));
        for other in [("uie", "spec", "data", ""), ("uid", "specd", "ata", ""), ("uid", "spec", "data", "x")]
        {
            assert_ne!(key, run_key(other.0, other.1, other.2, other.3), "{other:?}");
        }
    }

    #[test]
    fn a_job_name_fits_whatever_the_model_is_called() {
        assert_eq!(job_name("visa", "abcdefghij"), "visa-train-abcdefghij");
        assert_eq!(job_name(&"a".repeat(63), "abcdefghij").len(), 63);
        assert_eq!(
            job_name(&format!("{}-b", "a".repeat(45)), "abcdefghij"),
            format!("{}-train-abcdefghij", "a".repeat(45))
        );
    }
}
