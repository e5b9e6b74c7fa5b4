//! Every check that a head has to pass before it counts as loaded, cheapest first, and by which it is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use inctrl_model::{BackboneError, HeadError, SelfTestError};
use inctrl_storage::manifest::SelfTest;
use inctrl_storage::{Digest, Manifest, ManifestError, VerifyingKey};
use inctrl_telemetry::Chain;
use tokio::sync::{mpsc, oneshot};

use super::desired::{HeadRef, Parts};
use crate::decode::CpuPool;
use crate::revisions::{Bell, Revision};
use crate::scorer::{Garbage, HeadInfo, HeadKey, Job, ScorerError};

/// Why a head was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    Unreachable,
    DigestMismatch,
    Signature,
    Manifest,
    Shape,
    NotFinite,
    Backbone,
    SelfTest,
    Panic,
}

/// Why a head was refused, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) problem: Problem,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(problem: Problem, message: impl Into<String>) -> Self {
        Self { problem, message: message.into() }
    }

    /// Of a manifest that cannot be used.
    pub(super) fn of_manifest(error: &ManifestError) -> Self {
        let problem = match error {
            ManifestError::Unsigned | ManifestError::Signature { .. } => Problem::Signature,
            _ => Problem::Manifest,
        };
        Self::new(problem, Chain(error).to_string())
    }

    fn of_scorer(error: &ScorerError) -> Self {
        let problem = match error {
            ScorerError::Head(head) => of_head(head),
            ScorerError::SelfTest(_) | ScorerError::NotFinite | ScorerError::Unknown { .. } => {
                Problem::SelfTest
            }
            ScorerError::OutOfMemory { .. }
            | ScorerError::Backbone(_)
            | ScorerError::Panicked { .. }
            | ScorerError::Ended => Problem::Panic,
        };
        Self::new(problem, Chain(error).to_string())
    }
}

fn of_head(error: &HeadError) -> Problem {
    match error {
        HeadError::OtherBackbone { .. } => Problem::Backbone,
        HeadError::Spread { .. } => Problem::NotFinite,
        HeadError::Mismatch { mismatch, .. } => {
            let with_values_only = inctrl_model::backbone::WeightsMismatch {
                non_finite: mismatch.non_finite.clone(),
                ..Default::default()
            };
            if **mismatch == with_values_only { Problem::NotFinite } else { Problem::Shape }
        }
        HeadError::Panicked { .. } => Problem::Panic,
        _ => Problem::Shape,
    }
}

/// Why a head was not loaded.
#[derive(Debug)]
pub(super) enum LoadError {
    Refused(Refusal),
    /// The device failed, not the head: it may be good.
    Trouble(String),
    /// The scorer has ended: the head may be good.
    Ended,
}

impl From<ScorerError> for LoadError {
    fn from(error: ScorerError) -> Self {
        match error {
            ScorerError::Ended => Self::Ended,
            error if is_passing(&error) => Self::Trouble(Chain(&error).to_string()),
            other => Self::Refused(Refusal::of_scorer(&other)),
        }
    }
}

/// Whether it is the device that fails or is short of memory, so that another attempt may succeed.
fn is_passing(error: &ScorerError) -> bool {
    match error {
        ScorerError::OutOfMemory { .. } => true,
        ScorerError::SelfTest(error) => {
            matches!(**error, SelfTestError::Backbone(BackboneError::Torch { .. }))
        }
        error => error.is_of_the_device(),
    }
}

/// What heads are checked and loaded with.
#[derive(Debug)]
pub(crate) struct LoaderSpec {
    /// Weak: the batching worker alone decides when the scorer ends.
    pub(crate) jobs: mpsc::WeakSender<Job>,
    pub(crate) pool: Arc<CpuPool>,
    /// Of the backbone that heads must go with.
    pub(crate) backbone_digest: String,
    /// Signatures are asked for where there is one.
    pub(crate) key: Option<VerifyingKey>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) garbage: Arc<Garbage>,
    /// The first key of the scorer that nobody else uses.
    pub(crate) first_key: HeadKey,
}

/// Checks heads and brings them into the scorer.
#[derive(Debug)]
pub(crate) struct Loader {
    spec: LoaderSpec,
    next_key: AtomicU64,
}

/// What a manifest says of a head, its signature and all digests checked.
struct Examined {
    kind: String,
    self_test: Option<SelfTest>,
}

impl Loader {
    pub(crate) fn new(spec: LoaderSpec) -> Self {
        let next_key = AtomicU64::new(spec.first_key.0);
        Self { spec, next_key }
    }

    pub(super) fn backbone_digest(&self) -> &str {
        &self.spec.backbone_digest
    }

    /// Checks a head of which all parts are here, and loads it beside all others.
    pub(super) async fn load(&self, head: &HeadRef, parts: &Parts) -> Result<Arc<Revision>, LoadError> {
        let LoaderSpec { pool, backbone_digest, key, bell, garbage, .. } = &self.spec;
        let (digest, whole) = (head.digest, parts.clone());
        let (backbone, key) = (backbone_digest.clone(), key.clone());
        let examined =
            pool.run("checking a head", move || examine(digest, &whole, &backbone, key.as_ref())).await;
        let panicked =
            |_| LoadError::Refused(Refusal::new(Problem::Panic, "checking it panicked; see the log"));
        let Examined { kind, self_test } = examined.map_err(panicked)?.map_err(LoadError::Refused)?;

        let key = HeadKey(self.next_key.fetch_add(1, Ordering::Relaxed));
        let bytes = parts.weights.clone();
        let info: HeadInfo = self.ask(|reply| Job::LoadHead { key, bytes, reply }).await?;
        // Lets go of it when a later check refuses it.
        let revision = Arc::new(Revision::new(key, info, Arc::clone(bell), Arc::clone(garbage)));
        revision.renumber(head.revision);
        if revision.kind().to_string() != kind {
            let said = format!("the manifest is of a {kind} head, the file is of a {} head", revision.kind());
            return Err(LoadError::Refused(Refusal::new(Problem::Manifest, said)));
        }
        if let Some(expected) = self_test {
            let test: Bytes = parts.self_test.clone();
            let scores: Vec<f32> = self.ask(|reply| Job::SelfTest { key, test, reply }).await?;
            compare(&expected, &scores).map_err(LoadError::Refused)?;
        } else {
            tracing::warn!(%digest, "the head's manifest names no self-test; it is served untested");
        }
        Ok(revision)
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, ScorerError>>) -> Job,
    ) -> Result<T, LoadError> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.spec.jobs.upgrade().ok_or(LoadError::Ended)?;
        jobs.send(job(reply)).await.map_err(|_| LoadError::Ended)?;
        Ok(answer.await.map_err(|_| LoadError::Ended)??)
    }
}

/// What can be told without a tensor: digest, signature, manifest, backbone.
fn examine(
    digest: Digest,
    parts: &Parts,
    backbone_digest: &str,
    key: Option<&VerifyingKey>,
) -> Result<Examined, Refusal> {
    let Parts { manifest, weights, self_test } = parts;
    let found = Digest::of(weights);
    if found != digest {
        let said = format!("the head's file has the digest {found}, not {digest}; publish it again");
        return Err(Refusal::new(Problem::DigestMismatch, said));
    }
    let manifest = Manifest::from_json(manifest, key).map_err(|error| Refusal::of_manifest(&error))?;
    if manifest.revision != digest {
        let said = format!("the manifest is of revision {}, not {digest}", manifest.revision);
        return Err(Refusal::new(Problem::Manifest, said));
    }
    let trained_on = &manifest.record.backbone;
    if trained_on.digest.to_string() != backbone_digest {
        let said = format!(
            "the head was trained on backbone {} ({}), this server has {backbone_digest}",
            trained_on.name, trained_on.digest
        );
        return Err(Refusal::new(Problem::Backbone, said));
    }
    if let Some(test) = &manifest.record.self_test {
        let expected = manifest.part(&test.part).map_err(|error| Refusal::of_manifest(&error))?.digest;
        let found = Digest::of(self_test);
        if found != expected {
            let said = format!("the self-test has the digest {found}, the manifest says {expected}");
            return Err(Refusal::new(Problem::DigestMismatch, said));
        }
    }
    Ok(Examined { kind: manifest.record.head.kind, self_test: manifest.record.self_test })
}

/// Whether the scores here are those of the training.
fn compare(test: &SelfTest, scores: &[f32]) -> Result<(), Refusal> {
    let SelfTest { part: _, expected, tolerance } = test;
    if expected.len() != scores.len() {
        let said =
            format!("the self-test has {} queries, the manifest {} scores", scores.len(), expected.len());
        return Err(Refusal::new(Problem::SelfTest, said));
    }
    let off = |(index, (expected, score)): (usize, (&f64, &f32))| {
        let difference = (f64::from(*score) - expected).abs();
        // A difference that is no number is no pass.
        let passes = difference <= *tolerance;
        (!passes).then(|| {
            format!(
                "query {index} of the self-test scores {score} here, the manifest says {expected} within \
                 {tolerance}; is the precision of this server another than the trainer's?"
            )
        })
    };
    match expected.iter().zip(scores).enumerate().find_map(off) {
        Some(said) => Err(Refusal::new(Problem::SelfTest, said)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use inctrl_model::HeadKind;
    use inctrl_model::backbone::WeightsMismatch;

    use super::*;

    fn test_of(expected: &[f64]) -> SelfTest {
        SelfTest { part: "self-test.safetensors".to_owned(), expected: expected.to_vec(), tolerance: 0.01 }
    }

    #[test]
    fn a_self_test_passes_within_its_tolerance_alone() {
        let test = test_of(&[0.25, 0.5]);
        assert_eq!(compare(&test, &[0.259, 0.491]), Ok(()));
        for wrong in [&[0.25, 0.52][..], &[0.25, f32::NAN], &[0.25], &[0.25, 0.5, 0.5]] {
            assert_eq!(compare(&test, wrong).unwrap_err().problem, Problem::SelfTest, "{wrong:?}");
        }
        let said = compare(&test, &[0.25, 0.52]).unwrap_err().message;
        assert!(said.contains("query 1") && said.contains("0.52") && said.contains("0.5"), "{said}");
    }

    #[test]
    fn values_that_are_no_numbers_are_told_from_wrong_shapes() {
        let refused = |mismatch: WeightsMismatch| {
            let (kind, backbone) = (HeadKind::Contextual, "tiny".to_owned());
            of_head(&HeadError::Mismatch { kind, backbone, mismatch: Box::new(mismatch) })
        };
        let non_finite = vec!["weight".to_owned()];
        let only = WeightsMismatch { non_finite: non_finite.clone(), ..WeightsMismatch::default() };
        assert_eq!(refused(only), Problem::NotFinite);
        let missing = vec!["bias".to_owned()];
        assert_eq!(
            refused(WeightsMismatch { non_finite, missing, ..WeightsMismatch::default() }),
            Problem::Shape
        );
    }
}
