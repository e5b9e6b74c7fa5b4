//! Which heads one request meets, pinned when it is admitted.

use std::sync::Arc;

use inctrl_model::Scores;
use inctrl_storage::Digest;

use super::{Paired, Revision};
use crate::scorer::{HeadKey, QueryScores, ScorerError};

/// The heads of one request; holds them loaded until it is answered.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// Answers.
    pub(crate) revision: Arc<Revision>,
    /// Answers when the first fails by itself.
    pub(crate) other: Option<Arc<Revision>>,
    /// Where the other scores every query besides.
    pub(super) pairing: Option<Pairing>,
}

/// That both heads of a route score every query.
#[derive(Debug, Clone)]
pub(super) struct Pairing {
    pub(super) paired: Arc<Paired>,
    /// Whether the candidate is the one that answers.
    pub(super) candidate_answers: bool,
}

impl Route {
    /// Of one head alone.
    pub(crate) fn to(revision: Arc<Revision>) -> Self {
        Self { revision, other: None, pairing: None }
    }

    /// The head that scores besides; none once one of the two is out of service.
    pub(crate) fn shadow(&self) -> Option<HeadKey> {
        self.pairing.as_ref()?;
        self.other.as_ref().filter(|other| other.is_usable()).map(|other| other.key())
    }

    /// Takes in what became of a query: counts, paired statistics, heads that failed.
    pub(crate) fn note(&self, query: &QueryScores, threshold: Option<f32>) {
        let QueryScores { scores, shadow } = query;
        self.revision.scored(scores.as_ref().err());
        let Some((other, shadow)) = self.other.as_ref().zip(shadow.as_ref()) else { return };
        other.scored(shadow.as_ref().err());
        if let (Some(pairing), Ok(answer), Ok(shadow)) = (&self.pairing, scores, shadow) {
            let (active, candidate) =
                if pairing.candidate_answers { (shadow, answer) } else { (answer, shadow) };
            pairing.paired.observe(active.score, candidate.score, threshold);
        }
    }

    /// The other head, where the first failed by itself and the other can take over.
    pub(crate) fn relief(&self, failed: &Result<Scores, ScorerError>) -> Option<&Arc<Revision>> {
        let of_the_head = failed.as_ref().is_err_and(ScorerError::is_of_the_head);
        self.other.as_ref().filter(|other| of_the_head && other.is_usable())
    }
}

/// Whether a candidate answers a routing key: the same on every server, whatever answered before, and for a larger
/// weight always where it was for a smaller.
pub(super) fn is_chosen(candidate: &str, key: &str, weight_percent: u8) -> bool {
    let digest = Digest::of(format!("{candidate}\n{key}"));
    let first = digest.as_bytes().first_chunk().map_or(0, |first: &[u8; 8]| u64::from_be_bytes(*first));
    first % 100 < u64::from(weight_percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANDIDATE: &str = "sha256:ca";

    #[test]
    fn a_larger_weight_only_adds_keys_and_shares_are_kept() {
        let keys: Vec<String> = (0..4000).map(|index| format!("line-{index}")).collect();
        let mut last: Vec<&String> = Vec::new();
        for weight in [0, 1, 10, 50, 99, 100] {
            let chosen: Vec<_> = keys.iter().filter(|key| is_chosen(CANDIDATE, key, weight)).collect();
            assert!(last.iter().all(|key| chosen.contains(key)), "{weight} % must keep the keys of less");
            let share = chosen.len() as f64 / keys.len() as f64;
            assert!((share - f64::from(weight) / 100.0).abs() < 0.025, "{weight} %: {share}");
            last = chosen;
        }
        assert_eq!(last.len(), keys.len());
    }

    #[test]
    fn the_hash_is_as_the_protocol_says() {
        // python3 -c 'import hashlib; print(int.from_bytes(hashlib.sha256(b"sha256:ca\nline-7").digest()[:8]) % 100)'
        let at = 6;
        assert!(!is_chosen(CANDIDATE, "line-7", at) && is_chosen(CANDIDATE, "line-7", at + 1));
    }

    #[test]
    fn another_candidate_is_tried_on_other_keys() {
        let keys: Vec<String> = (0..1000).map(|index| format!("line-{index}")).collect();
        let both = |key: &&String| is_chosen("sha256:aa", key, 50) && is_chosen("sha256:bb", key, 50);
        let share = keys.iter().filter(both).count() as f64 / 1000.0;
        assert!((share - 0.25).abs() < 0.05, "{share}");
    }
}
