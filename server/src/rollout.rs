//! Roll-outs: which heads this server answers with, as somebody outside commands.
//!
//! Each command is the whole desired state. A head counts as loaded only once everything of it was checked; until then,
//! and when it is refused, its model goes on with the head that it had.
//!
//! ```text
//! ApplyRollout -> desired (fence) -> ledger.next -> for each new head:
//!     fetch  the parts that did not come along: from disk, else from their URI, again until they can be had
//!     check  digest, signature, manifest, backbone; then the scorer: shapes, values, self-test
//!   -> ledger -> Models::publish (one pointer) -> disk (temporary file, fsync, rename)
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use inctrl_storage::{Digest, StoreOptions};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::decode::CpuPool;
use crate::failure::Failure;
use crate::ids::ResourceId;
use crate::revisions::Models;

mod board;
mod check;
mod desired;
mod disk;
mod fetch;
mod ledger;
mod metrics;

pub(crate) use board::Board;
pub(crate) use check::{Loader, LoaderSpec, Problem};
pub(crate) use desired::{Desired, DesiredModel, HeadRef, Parts};
pub(crate) use disk::{Disk, DiskError};
pub(crate) use ledger::{HeadEntry, ModelEntry, Role, Standing};
pub(crate) use metrics::Shown;

use check::{LoadError, Refusal};
use desired::Admission;
use fetch::{Need, Trouble};
use ledger::Ledger;

/// First and longest wait before a head that could not be fetched or loaded, or a state that could not be written, is tried
/// again.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_mins(1);

/// Commands in work at a time: one, and the next. Each may hold many heads.
const MOST_COMMANDS: usize = 2;

/// The parts of heads that came along with a command, by their digest.
pub(crate) type Given = BTreeMap<Digest, Parts>;

/// What roll-outs are made with.
#[derive(Debug)]
pub(crate) struct RolloutSpec {
    pub(crate) board: Arc<Board>,
    pub(crate) models: Arc<Models>,
    pub(crate) loader: Loader,
    pub(crate) disk: Disk,
    pub(crate) store: StoreOptions,
    pub(crate) pool: Arc<CpuPool>,
}

/// Takes commands; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Rollout(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    spec: RolloutSpec,
    /// Commands that may be in work besides those that are.
    commands: Arc<Semaphore>,
    /// Held by whoever changes the ledger.
    turn: AsyncMutex<()>,
    /// Heads that are being fetched.
    pursuits: Mutex<Vec<Pursuit>>,
    /// Parts of loaded heads that are not on disk yet.
    unsaved: Mutex<BTreeMap<Digest, Parts>>,
    /// Writes again what could not be written.
    rewriting: Mutex<Option<AbortOnDropHandle<()>>>,
}

#[derive(Debug)]
struct Pursuit {
    model: ResourceId,
    head: HeadRef,
    task: AbortOnDropHandle<()>,
}

impl Rollout {
    pub(crate) fn new(spec: RolloutSpec) -> Self {
        let (turn, pursuits, unsaved) = (AsyncMutex::new(()), Mutex::default(), Mutex::default());
        let commands = Arc::new(Semaphore::new(MOST_COMMANDS));
        Self(Arc::new(Shared { spec, commands, turn, pursuits, unsaved, rewriting: Mutex::default() }))
    }

    pub(crate) fn board(&self) -> &Board {
        &self.0.spec.board
    }

    /// Digest of the backbone that heads must go with.
    pub(crate) fn backbone_digest(&self) -> &str {
        self.0.spec.loader.backbone_digest()
    }

    /// Comes back to the state that stands on disk, if any: what of it can be loaded without a network is loaded when
    /// this returns.
    pub(crate) async fn restore(&self) {
        let _turn = self.0.turn.lock().await;
        let disk = self.0.spec.disk.clone();
        let Ok(Some(saved)) =
            self.0.spec.pool.run("reading the rollout state", move || disk.read_state()).await
        else {
            return;
        };
        let (epoch, generation) = saved.desired.fence();
        tracing::info!(
            epoch,
            generation,
            models = saved.desired.models.len(),
            "rollout state found, loading it"
        );
        self.0.publish(Ledger::restored(saved));
        self.load_what_is_here(&Given::new()).await;
        self.0.persist().await;
    }

    /// Brings the server to a desired state. The heads that `given` completes are loaded or refused when this returns;
    /// others are fetched afterwards.
    ///
    /// Goes on when the caller leaves: half a command is none.
    pub(crate) async fn apply(&self, desired: Desired, given: Given) -> Result<(), Failure> {
        let permit = Arc::clone(&self.0.commands).try_acquire_owned().map_err(|_| Failure::RolloutBusy)?;
        let this = self.clone();
        let applying = tokio::spawn(async move {
            let _permit = permit;
            this.apply_in_turn(desired, given).await
        });
        applying.await.map_err(|_| Failure::Panicked { doing: "applying a rollout" })?
    }

    async fn apply_in_turn(&self, desired: Desired, given: Given) -> Result<(), Failure> {
        let _turn = self.0.turn.lock().await;
        let former = self.board().ledger();
        let (epoch, generation) = desired.fence();
        match former.desired.admit(&desired)? {
            Admission::Known => return Ok(()),
            Admission::New => {}
        }
        self.0.publish(former.next(desired, &given));
        self.load_what_is_here(&given).await;
        self.0.persist().await;
        let ledger = self.board().ledger();
        tracing::info!(
            epoch,
            generation,
            models = ledger.models.len(),
            loaded = ledger.count(|standing| matches!(standing, Standing::Loaded(_))),
            refused = ledger.count(|standing| matches!(standing, Standing::Refused(_))),
            durable = ledger.durable,
            "rollout applied"
        );
        Ok(())
    }

    /// Loads the heads whose parts are given or on disk, and pursues the others. All that were loaded are served at
    /// once.
    async fn load_what_is_here(&self, given: &Given) {
        let waiting = self.board().ledger().waiting();
        self.0.pursuits().retain(|pursuit| {
            let is_wanted =
                waiting.iter().any(|(model, head)| (model, head) == (&pursuit.model, &pursuit.head));
            is_wanted && !given.contains_key(&pursuit.head.digest) && !pursuit.task.is_finished()
        });
        let mut settled = Vec::new();
        for (model, head) in waiting {
            if self.0.pursuits().iter().any(|pursuit| pursuit.model == model && pursuit.head == head) {
                continue;
            }
            let came = given.get(&head.digest).cloned().unwrap_or_default();
            match self.0.load_local(&head, came.clone()).await {
                Ok(Local::Settled(standing)) => settled.push((model, head.digest, standing)),
                Ok(Local::Missing) => self.pursue(model, head, came, Duration::ZERO),
                Ok(Local::Trouble(parts, trouble)) => {
                    tracing::warn!(%model, digest = %head.digest, error = trouble, "head cannot be loaded yet");
                    settled.push((model.clone(), head.digest, Standing::Loading { trouble: Some(trouble) }));
                    self.pursue(model, head, parts, FIRST_RETRY);
                }
                // The server is on its way out.
                Err(Ended) => return,
            }
        }
        let ledger = self.board().ledger();
        let ledger = settled.into_iter().fold(ledger, |ledger, (model, digest, standing)| {
            Arc::new(ledger.with(&model, digest, &standing))
        });
        self.0.publish(Ledger::clone(&ledger));
    }

    /// After `rest`, fetches and loads a head until it can be had or its model wants another.
    fn pursue(&self, model: ResourceId, head: HeadRef, given: Parts, rest: Duration) {
        let (shared, name, wanted) = (Arc::downgrade(&self.0), model.clone(), head.clone());
        let task = tokio::spawn(async move {
            let mut wait = FIRST_RETRY;
            tokio::time::sleep(rest).await;
            loop {
                let Some(shared) = shared.upgrade() else { return };
                match shared.obtain(&wanted, given.clone()).await {
                    Ok(standing) => return shared.settle(&name, wanted.digest, standing).await,
                    Err(Interrupted::Ended) => return,
                    Err(Interrupted::Trouble(trouble)) => {
                        tracing::warn!(model = %name, digest = %wanted.digest, error = trouble, "head cannot be had yet");
                        shared
                            .settle(&name, wanted.digest, Standing::Loading { trouble: Some(trouble) })
                            .await;
                    }
                }
                drop(shared);
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_RETRY);
            }
        });
        self.0.pursuits().push(Pursuit { model, head, task: AbortOnDropHandle::new(task) });
    }
}

/// The scorer has ended.
struct Ended;

/// What became of a head whose parts were looked for here.
enum Local {
    /// Loaded or refused.
    Settled(Standing),
    /// A part has to be fetched.
    Missing,
    /// All parts are here, and it may be loaded later.
    Trouble(Parts, String),
}

/// Why a head is neither loaded nor refused.
enum Interrupted {
    Trouble(String),
    Ended,
}

impl Shared {
    fn pursuits(&self) -> std::sync::MutexGuard<'_, Vec<Pursuit>> {
        // A list of tasks is whole whatever panicked beside it.
        self.pursuits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves what a ledger says from now on.
    fn publish(&self, ledger: Ledger) {
        let RolloutSpec { board, models, .. } = &self.spec;
        let roles = ledger.models.iter().map(|model| (model.want.name.clone(), model.roles())).collect();
        models.publish(roles);
        board.publish(ledger);
    }

    /// Takes in what became of a head that was pursued.
    async fn settle(self: &Arc<Self>, model: &ResourceId, digest: Digest, standing: Standing) {
        let _turn = self.turn.lock().await;
        let ledger = self.spec.board.ledger();
        let is_wanted = ledger.waiting().iter().any(|(name, head)| name == model && head.digest == digest);
        if is_wanted {
            let is_final = !matches!(standing, Standing::Loading { .. });
            let next = ledger.with(model, digest, &standing);
            self.publish(Ledger { durable: ledger.durable && !is_final, ..next });
            if is_final {
                self.persist().await;
            }
        }
    }

    /// Loads a head of parts that are at hand.
    async fn load_local(&self, head: &HeadRef, given: Parts) -> Result<Local, Ended> {
        let (disk, digest) = (self.spec.disk.clone(), head.digest);
        let kept = self.spec.pool.run("reading a head", move || disk.read_head(digest)).await;
        let came_whole = !given.weights.is_empty();
        let parts = given.or(kept.unwrap_or_default());
        match fetch::need(head, &parts) {
            Err(refusal) => Ok(Local::Settled(Standing::refused(head, refusal, &parts))),
            Ok(Need::Fetch) => Ok(Local::Missing),
            Ok(Need::Nothing) => match self.load(head, parts.clone()).await {
                // What lies on disk is damaged: it is fetched anew.
                Ok(Standing::Refused(refusal))
                    if refusal.problem == Problem::DigestMismatch && !came_whole && head.uri.is_some() =>
                {
                    tracing::error!(digest = %head.digest, "the head's file on disk is damaged; it is fetched anew");
                    self.spec.disk.remove_head(head.digest);
                    Ok(Local::Missing)
                }
                Ok(standing) => Ok(Local::Settled(standing)),
                Err(Interrupted::Trouble(trouble)) => Ok(Local::Trouble(parts, trouble)),
                Err(Interrupted::Ended) => Err(Ended),
            },
        }
    }

    /// Fetches what of a head is missing, then loads it.
    async fn obtain(&self, head: &HeadRef, given: Parts) -> Result<Standing, Interrupted> {
        let parts = match fetch::complete(head, given, &self.spec.disk, &self.spec.store).await {
            Ok(parts) => parts,
            Err(Trouble::Refused(refusal)) => return Ok(Standing::refused(head, refusal, &Parts::default())),
            Err(Trouble::Unreachable(trouble)) => return Err(Interrupted::Trouble(trouble)),
        };
        self.load(head, parts).await
    }

    async fn load(&self, head: &HeadRef, parts: Parts) -> Result<Standing, Interrupted> {
        match self.spec.loader.load(head, &parts).await {
            Ok(revision) => {
                tracing::info!(digest = %head.digest, revision = head.revision, kind = %revision.kind(), "head loaded");
                self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).insert(head.digest, parts);
                Ok(Standing::Loaded(revision))
            }
            Err(LoadError::Refused(refusal)) => Ok(Standing::refused(head, refusal, &parts)),
            Err(LoadError::Trouble(trouble)) => Err(Interrupted::Trouble(trouble)),
            Err(LoadError::Ended) => Err(Interrupted::Ended),
        }
    }

    /// Writes down what the ledger says; what cannot be written now is written later.
    async fn persist(self: &Arc<Self>) {
        if self.write().await {
            return;
        }
        let mut rewriting = self.rewriting.lock().unwrap_or_else(PoisonError::into_inner);
        if rewriting.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let shared = Arc::downgrade(self);
        *rewriting = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let mut wait = FIRST_RETRY;
            loop {
                tokio::time::sleep(wait).await;
                let Some(shared) = shared.upgrade() else { return };
                let _turn = shared.turn.lock().await;
                if shared.spec.board.ledger().durable || shared.write().await {
                    return;
                }
                wait = (wait * 2).min(LONGEST_RETRY);
            }
        })));
    }

    /// Writes down what the ledger says, and removes what it says nothing of; whether all of it was written. A state
    /// whose heads cannot be kept is not written: what it was before can still be come back to.
    async fn write(&self) -> bool {
        let ledger = self.spec.board.ledger();
        let (saved, wanted) = (ledger.saved(), ledger.digests());
        let mut unsaved = std::mem::take(&mut *self.unsaved.lock().unwrap_or_else(PoisonError::into_inner));
        unsaved.retain(|digest, _| wanted.contains(digest));
        let disk = self.spec.disk.clone();
        let write = move || {
            unsaved.retain(|digest, parts| match disk.save_head(*digest, parts) {
                Ok(()) => false,
                Err(error) => {
                    tracing::error!(%digest, error = %inctrl_telemetry::Chain(&error), "a head is not kept");
                    true
                }
            });
            if !unsaved.is_empty() {
                return (false, unsaved);
            }
            let kept = disk.save_state(&saved).inspect_err(|error| {
                tracing::error!(error = %inctrl_telemetry::Chain(error), "the rollout state is not kept");
            });
            if kept.is_ok() {
                disk.sweep(&wanted);
            }
            (kept.is_ok(), unsaved)
        };
        let (durable, unsaved) =
            self.spec.pool.run("keeping the rollout state", write).await.unwrap_or_default();
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).extend(unsaved);
        self.spec.board.publish(Ledger { durable, ..Ledger::clone(&ledger) });
        durable
    }
}

impl Standing {
    fn refused(head: &HeadRef, refusal: Refusal, parts: &Parts) -> Self {
        let Refusal { problem, message } = refusal;
        tracing::error!(digest = %head.digest, revision = head.revision, ?problem, message, "head refused");
        let tried = parts.identity();
        Self::Refused(Arc::new(ledger::Refused { problem, message, tried }))
    }
}
