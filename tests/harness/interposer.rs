//! What stands between an operator and whatever it writes to: the API server, and the rollout ports of scoring servers.
//! It forwards everything, counts the writes, and does to some of them what a test aims at: the operator is killed before
//! one arrives or before it hears the answer, an answer is lost, late, refused, or a write is done twice.
//!
//! ```text
//! operator --HTTP--> api ------HTTPS--> kube-apiserver
//!          --h2c---> rollout --h2c----> inctrl-server
//! ```

mod api;
mod rollout;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::{oneshot, watch};

pub use api::serve_api;
pub use rollout::serve_rollouts;

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operator is killed, and the write never arrives.
    KilledBefore,
    /// The write is done; the operator is killed before it hears so.
    KilledAfter,
    /// The write never arrives; this status is the answer.
    Refused(u16),
    /// The write is done; nobody ever says so.
    Unheard,
    /// The write arrives later.
    Late(Duration),
    /// The write is done twice, and the second answer arrives.
    Twice,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Models, their status, Jobs, and what servers are to have: what the operator is there for.
    Work,
    /// The Lease.
    Lease,
    /// Events, on which nothing depends.
    Event,
    /// Not a write at all.
    Read,
}

/// A call that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What it is about.
    pub kind: Kind,
    /// In words, without names.
    pub what: String,
    /// Name of the object.
    pub name: String,
    /// What became of it, where a fault did.
    pub fault: Option<Fault>,
    /// Statuses that were answered to it, of HTTP or gRPC; none where it was not forwarded.
    pub codes: Vec<u16>,
}

/// Decides over a call from its kind and its number among those of its kind, from 1.
pub type Aim = Box<dyn FnMut(Kind, usize) -> Option<Fault> + Send>;

/// Stands between one operator and the rest of the world.
pub struct Interposer {
    state: Mutex<State>,
    /// Whether the operator is cut off from the world, for it is to be dead.
    severed: watch::Sender<bool>,
}

struct State {
    aim: Aim,
    calls: Vec<Call>,
    counts: BTreeMap<Kind, usize>,
    hold: Option<oneshot::Sender<Held>>,
}

/// A rollout that waits to be forwarded.
#[derive(Debug)]
pub struct Held {
    release: oneshot::Sender<()>,
    answer: oneshot::Receiver<u16>,
}

impl Held {
    /// Lets it go on; answers the gRPC status that the server gave.
    pub async fn release(self) -> Option<u16> {
        self.release.send(()).ok()?;
        self.answer.await.ok()
    }
}

impl std::fmt::Debug for Interposer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interposer").finish_non_exhaustive()
    }
}

impl Default for Interposer {
    fn default() -> Self {
        let state =
            State { aim: Box::new(|_, _| None), calls: Vec::new(), counts: BTreeMap::new(), hold: None };
        Self { state: Mutex::new(state), severed: watch::channel(false).0 }
    }
}

impl Interposer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts from nought, with this aim.
    pub fn aim(&self, aim: Aim) {
        let mut state = self.state();
        state.aim = aim;
        state.calls.clear();
        state.counts.clear();
    }

    /// Writes that arrived since the last aim was taken, in order.
    pub fn writes(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Holds the next rollout back; what is received is that rollout once it came.
    pub fn hold_next_rollout(&self) -> oneshot::Receiver<Held> {
        let (sender, receiver) = oneshot::channel();
        self.state().hold = Some(sender);
        receiver
    }

    /// Completes once the operator is to be killed.
    pub async fn severed(&self) {
        // The sender lives as long as this.
        let _ = self.severed.subscribe().wait_for(|severed| *severed).await;
    }

    /// Lets an operator reach the world; the one before must be dead.
    pub fn mend(&self) {
        self.severed.send_replace(false);
    }

    fn is_severed(&self) -> bool {
        *self.severed.borrow()
    }

    /// Takes in a call; answers its place and what is to become of it.
    fn arrive(&self, kind: Kind, what: String, name: String) -> Result<(usize, Option<Fault>), Severed> {
        let mut state = self.state();
        if self.is_severed() {
            return Err(Severed);
        }
        let count = state.counts.entry(kind).or_default();
        *count += 1;
        let count = *count;
        let fault = (state.aim)(kind, count);
        if fault == Some(Fault::KilledBefore) {
            self.severed.send_replace(true);
        }
        if kind != Kind::Read {
            state.calls.push(Call { kind, what, name, fault, codes: Vec::new() });
        }
        Ok((state.calls.len().saturating_sub(1), fault))
    }

    /// Takes in what was answered to a write.
    fn answered(&self, place: usize, code: u16) {
        if let Some(call) = self.state().calls.get_mut(place) {
            call.codes.push(code);
        }
    }

    fn held(&self) -> Option<oneshot::Sender<Held>> {
        self.state().hold.take()
    }

    /// Does to a call what is to be done; `forward` does it once, `refuse` answers in its place.
    async fn apply<F>(
        &self,
        fault: Option<Fault>,
        forward: impl Fn() -> F,
        refuse: fn(u16) -> Response<Answer>,
    ) -> Result<Response<Answer>, Severed>
    where
        F: Future<Output = Result<Response<Answer>, Severed>>,
    {
        match fault {
            Some(Fault::KilledBefore) => return Err(Severed),
            Some(Fault::Refused(code)) => return Ok(refuse(code)),
            Some(Fault::Late(delay)) => tokio::time::sleep(delay).await,
            Some(Fault::Twice) => drop(forward().await?),
            Some(Fault::KilledAfter | Fault::Unheard) | None => {}
        }
        let answer = forward().await?;
        match fault {
            Some(Fault::KilledAfter) => {
                self.severed.send_replace(true);
                Err(Severed)
            }
            Some(Fault::Unheard) => std::future::pending().await,
            // One that was killed meanwhile hears nothing.
            _ if self.is_severed() => Err(Severed),
            _ => Ok(answer),
        }
    }
}

/// The body of an answer.
type Answer = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The operator is dead, or whom it called is away: the connection ends.
#[derive(Debug, thiserror::Error)]
#[error("the line is cut")]
struct Severed;

/// The whole of a body, with its trailers.
async fn whole<B>(response: Response<B>) -> Result<(u16, Response<Answer>, Option<u16>), Severed>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
{
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|_| Severed)?;
    let grpc = |headers: &http::HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
    let grpc = body.trailers().and_then(grpc).or_else(|| grpc(&head.headers));
    let status = head.status.as_u16();
    let body = body.map_err(|never| match never {}).boxed_unsync();
    Ok((status, Response::from_parts(head, body), grpc))
}
