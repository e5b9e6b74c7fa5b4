//! A scorer without tensors, driven by hand: for tests and benches of everything on this side of the seam.
//!
//! Its score of an image is the mean of its pixels, so that an answer that was mixed up with another is seen; a head
//! file `NAME OFFSET` adds its offset, so that heads are told apart. A self-test file is numbers, taken for the means of
//! its queries. The [`Hand`] holds batches back, lets them go, makes the next call fail, and makes heads fail.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use inctrl_model::preprocess::Fit;
use inctrl_model::{BackboneInfo, HeadError, HeadKind, Pixels, Precision, Preprocess, Scores, SelfTestError};
use inctrl_storage::Digest;
use tokio::sync::watch;

use super::{HeadInfo, HeadKey, PromptKey, Query, QueryScores, Scored, Scorer, ScorerError, ScorerInfo};

/// Side of the square that the fake examines.
const SIZE: u32 = 8;
/// Rows and columns of its maps.
const GRID: (usize, usize) = (2, 2);
/// Bytes that it says the features of one image take.
const FEATURE_BYTES: usize = 1 << 20;

/// Digest of its backbone.
pub const BACKBONE_DIGEST: &str = "sha256:fa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4e";

/// A scorer without tensors.
#[derive(Debug)]
pub struct FakeScorer {
    info: ScorerInfo,
    prompts: HashMap<PromptKey, usize>,
    heads: HashMap<HeadKey, FakeHead>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct FakeHead {
    digest: String,
    offset: f32,
}

/// Steers a [`FakeScorer`] and tells what it did.
#[derive(Debug, Clone)]
pub struct Hand(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    moved: Condvar,
    seen: watch::Sender<Seen>,
}

#[derive(Debug, Default)]
struct State {
    is_held: bool,
    permits: usize,
    next: VecDeque<Next>,
    /// What the next probes, loadings and self-tests of heads meet.
    checks: VecDeque<ScorerError>,
    /// Digests of heads that fail whatever they score.
    broken: BTreeSet<String>,
}

/// What the next batch meets instead of a score.
#[derive(Debug)]
enum Next {
    Fail(ScorerError),
    Panic,
}

/// What a fake has been asked for so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Batches that have begun.
    pub batches: Vec<usize>,
    /// Prompt sets that were encoded.
    pub encoded: usize,
    /// Prompt sets that are held.
    pub prompts: usize,
    /// Heads that are held.
    pub heads: usize,
}

impl FakeScorer {
    /// A fake and its hand.
    pub fn new() -> (Self, Hand) {
        let backbone = BackboneInfo {
            name: "fake".to_owned(),
            provenance: "fake".to_owned(),
            digest: BACKBONE_DIGEST.to_owned(),
            grid: GRID,
            tap_channels: vec![1],
            taps: vec![1],
            embed_dim: 1,
            has_text: false,
            preprocess: Preprocess { size: SIZE, mean: [0.0; 3], std: [1.0; 3], fit: Fit::Crop },
        };
        let info =
            ScorerInfo { backbone, device: "none".to_owned(), precision: Precision::Fp32, batch_size: 4 };
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            moved: Condvar::new(),
            seen: watch::Sender::new(Seen::default()),
        });
        let hand = Hand(Arc::clone(&shared));
        (Self { info, prompts: HashMap::new(), heads: HashMap::new(), shared }, hand)
    }
}

impl Hand {
    /// Batches from now on wait to be let go.
    pub fn hold(&self) {
        self.0.state().is_held = true;
    }

    /// Lets one batch go.
    pub fn let_one_go(&self) {
        self.0.state().permits += 1;
        self.0.moved.notify_all();
    }

    /// Lets all go, those to come included.
    pub fn let_all_go(&self) {
        self.0.state().is_held = false;
        self.0.moved.notify_all();
    }

    /// The next batch fails so.
    pub fn fail_next(&self, error: ScorerError) {
        self.0.state().next.push_back(Next::Fail(error));
    }

    /// The next probe, loading or self-test of a head fails so.
    pub fn fail_next_check(&self, error: ScorerError) {
        self.0.state().checks.push_back(error);
    }

    /// The next batch panics.
    pub fn panic_next(&self) {
        self.0.state().next.push_back(Next::Panic);
    }

    /// The head of that digest fails from now on, as one that panics does.
    pub fn break_head(&self, digest: &str) {
        self.0.state().broken.insert(digest.to_owned());
    }

    /// What it was asked for so far.
    pub fn seen(&self) -> Seen {
        self.0.seen.borrow().clone()
    }

    /// Waits until what it was asked for passes.
    pub async fn until(&self, passes: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.0.seen.subscribe();
        let seen = seen.wait_for(passes).await.expect("the hand itself holds the sender");
        seen.clone()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails as the hand says.
    fn check(&self) -> Result<(), ScorerError> {
        self.state().checks.pop_front().map_or(Ok(()), Err)
    }

    /// Waits to be let go, where batches are held; tells what is to happen then.
    fn wait(&self) -> Option<Next> {
        let mut state = self.state();
        while state.is_held && state.permits == 0 {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.permits = state.permits.saturating_sub(1);
        state.next.pop_front()
    }
}

impl Scorer for FakeScorer {
    fn info(&self) -> &ScorerInfo {
        &self.info
    }

    fn probe(&mut self) -> Result<(), ScorerError> {
        self.shared.check()
    }

    fn encode_text(&mut self, _object_class: &str) -> Result<bool, ScorerError> {
        Ok(true)
    }

    fn encode_prompts(
        &mut self,
        key: PromptKey,
        images: &[Pixels],
        _object_class: &str,
    ) -> Result<usize, ScorerError> {
        let bytes = images.len() * FEATURE_BYTES;
        self.prompts.insert(key, bytes);
        let held = self.prompts.len();
        self.shared.seen.send_modify(|seen| (seen.encoded, seen.prompts) = (seen.encoded + 1, held));
        Ok(bytes)
    }

    fn forget_prompts(&mut self, key: PromptKey) {
        self.prompts.remove(&key);
        let held = self.prompts.len();
        self.shared.seen.send_modify(|seen| seen.prompts = held);
    }

    fn load_head(&mut self, key: HeadKey, bytes: &[u8]) -> Result<HeadInfo, ScorerError> {
        self.shared.check()?;
        let text = String::from_utf8_lossy(bytes);
        let offset = text.split_once(' ').map_or(Ok(0.0), |(_, offset)| offset.trim().parse());
        let offset = offset.map_err(|_| {
            let reason = format!("{text:?} is no head of the fake");
            ScorerError::Head(Arc::new(HeadError::Malformed { reason }))
        })?;
        let digest = Digest::of(bytes).to_string();
        self.heads.insert(key, FakeHead { digest: digest.clone(), offset });
        let held = self.heads.len();
        self.shared.seen.send_modify(|seen| seen.heads = held);
        Ok(HeadInfo { digest, kind: HeadKind::Contextual })
    }

    fn self_test(&mut self, key: HeadKey, test: &[u8]) -> Result<Vec<f32>, ScorerError> {
        self.shared.check()?;
        let offset = self.head(key)?.offset;
        let text = String::from_utf8_lossy(test);
        let means = text.split_whitespace().map(str::parse::<f32>);
        let scores: Result<Vec<f32>, std::num::ParseFloatError> =
            means.map(|mean| Ok(mean? + offset)).collect();
        scores.map_err(|error| {
            ScorerError::SelfTest(Arc::new(SelfTestError::Malformed { reason: error.to_string() }))
        })
    }

    fn forget_head(&mut self, key: HeadKey) {
        self.heads.remove(&key);
        let held = self.heads.len();
        self.shared.seen.send_modify(|seen| seen.heads = held);
    }

    fn score(&mut self, queries: &[Query<'_>]) -> Result<Scored, ScorerError> {
        self.shared.seen.send_modify(|seen| seen.batches.push(queries.len()));
        match self.shared.wait() {
            Some(Next::Fail(error)) => return Err(error),
            Some(Next::Panic) => panic!("the hand made this batch panic"),
            None => {}
        }
        let scored = queries.iter().map(|query| QueryScores {
            scores: self.score_one(query, query.head),
            shadow: query.shadow.map(|shadow| self.score_one(query, shadow)),
        });
        Ok(Scored { queries: scored.collect(), backbone: Duration::ZERO })
    }
}

impl FakeScorer {
    fn head(&self, key: HeadKey) -> Result<&FakeHead, ScorerError> {
        self.heads.get(&key).ok_or_else(|| ScorerError::Unknown { what: format!("head {}", key.0) })
    }

    fn score_one(&self, query: &Query<'_>, head: HeadKey) -> Result<Scores, ScorerError> {
        let FakeHead { digest, offset } = self.head(head)?;
        if !self.prompts.contains_key(&query.prompts) {
            return Err(ScorerError::Unknown { what: format!("prompt set {}", query.prompts.0) });
        }
        if self.shared.state().broken.contains(digest) {
            let message = "the hand broke this head".to_owned();
            return Err(ScorerError::Head(Arc::new(HeadError::Panicked { message })));
        }
        Ok(scores(query.pixels, *offset))
    }
}

fn scores(pixels: &Pixels, offset: f32) -> Scores {
    let score = pixels.values.iter().sum::<f32>() / pixels.values.len() as f32 + offset;
    Scores {
        score,
        image_score: None,
        text_score: None,
        patch_max: score,
        holistic_score: None,
        map: vec![score; GRID.0 * GRID.1],
    }
}
