//! The server as the commands see it: a call that carries token and deadline, and tries again while that helps.
//!
//! Every method of the API may be sent again: scoring has no side effect, creating is idempotent by content,
//! deleting by name.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::connection::Connection;
use crate::notes::Notes;
use crate::refusal::Refusal;
use crate::retry::{self, Verdict};

/// Shorter trials are not mentioned.
const RETRY_WORTH_TELLING: Duration = Duration::from_millis(100);

/// A server. Calls of one task may overlap.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
    timeout: Duration,
    retry_for: Duration,
    notes: Notes,
    /// When the server last gave a sign of life.
    last_answer: Cell<Option<Instant>>,
    /// Whether people were told that it is away.
    is_outage_told: Cell<bool>,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("server {url} cannot be reached{}: {reason}", trial(*.tried_for))]
    Unreachable {
        url: String,
        /// The innermost cause.
        reason: String,
        tried_for: Duration,
        /// Nobody else had an answer in that time either.
        is_gone: bool,
        source: Box<Status>,
    },
    /// The server said so itself, to the end.
    #[error("server {url} is not available{}: {}", trial(*.tried_for), .refusal.message)]
    Unavailable {
        url: String,
        refusal: Box<Refusal>,
        tried_for: Duration,
        /// Nobody else had an answer in that time either.
        is_gone: bool,
    },
    #[error("server {url} and this client do not trust each other's certificates: {reason}")]
    Untrusted { url: String, reason: String, source: Box<Status> },
    #[error("server {url} does not speak TLS")]
    Plaintext { url: String, source: Box<Status> },
    #[error("no answer within {}", shown(*.timeout))]
    TimedOut { timeout: Duration },
    #[error("{}", .refusal.message)]
    Refused { refusal: Box<Refusal>, status: Box<Status>, was_repeated: bool },
}

impl CallError {
    /// Lines below the message, for people.
    pub(crate) fn explanation(&self) -> String {
        match self {
            Self::Unreachable { .. } => {
                "\n  hint: is the server running, and is --server (or INCTRL_SERVER) right?".to_owned()
            }
            Self::Untrusted { .. } => {
                "\n  hint: name the server's authority with --tls-ca FILE; its certificate must bear the URL's host \
                 or --tls-server-name"
                    .to_owned()
            }
            Self::Plaintext { .. } => {
                "\n  hint: write http:// in --server (or INCTRL_SERVER), or have the server given a certificate"
                    .to_owned()
            }
            Self::TimedOut { .. } => "\n  hint: raise --timeout, or lower --concurrency".to_owned(),
            Self::Unavailable { refusal, .. } | Self::Refused { refusal, .. } => refusal.explanation(),
        }
    }
}

impl Server {
    pub(crate) fn new(connection: Connection, notes: Notes) -> Self {
        let Connection { url, channel, token, timeout, retry_for, is_token_exposed } = connection;
        if is_token_exposed {
            notes.note(&format!("note: the token travels unencrypted to {url}; use https://"));
        }
        let (last_answer, is_outage_told) = (Cell::new(None), Cell::new(false));
        Self { url, channel, token, timeout, retry_for, notes, last_answer, is_outage_told }
    }

    /// Sends `message` with `send`, again and again while the server is away or overloaded, for `--retry-for`.
    pub(crate) async fn call<Q: Clone, A>(
        &self,
        message: &Q,
        send: impl AsyncFn(Channel, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, CallError> {
        let mut trouble: Option<Trouble> = None;
        loop {
            let Some(outcome) = self.attempt(message, &send).await else {
                return Err(CallError::TimedOut { timeout: self.timeout });
            };
            let status = match outcome {
                Ok(answer) => {
                    self.answered();
                    return Ok(answer.into_inner());
                }
                Err(status) => status,
            };
            let verdict = Verdict::of(&status);
            let asked = match verdict {
                Verdict::Unreachable => Duration::ZERO,
                Verdict::Unavailable(delay) | Verdict::Overloaded(delay) => delay,
                Verdict::TimedOut => return Err(CallError::TimedOut { timeout: self.timeout }),
                Verdict::Untrusted => return Err(self.untrusted(status)),
                Verdict::Plaintext => {
                    return Err(CallError::Plaintext { url: self.url.clone(), source: Box::new(status) });
                }
                Verdict::Refused => return Err(self.refused(status, trouble.is_some())),
            };
            let Trouble { since, attempts } = trouble.get_or_insert_with(Trouble::begins);
            *attempts += 1;
            let left = self.retry_for.saturating_sub(since.elapsed());
            match verdict {
                Verdict::Overloaded(_) if left.is_zero() => return Err(self.refused(status, true)),
                Verdict::Overloaded(_) => self.answered(),
                Verdict::Unavailable(_) if left.is_zero() => return Err(self.unavailable(&status, *since)),
                _ if left.is_zero() => return Err(self.unreachable(status, *since)),
                _ => self.tell_outage(&status),
            }
            tokio::time::sleep(retry::wait(*attempts, asked).min(left)).await;
        }
    }

    /// One attempt; none when the time is up.
    async fn attempt<Q: Clone, A>(
        &self,
        message: &Q,
        send: impl AsyncFn(Channel, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Option<Result<Response<A>, Status>> {
        let mut request = Request::new(message.clone());
        request.set_timeout(self.timeout);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        tokio::time::timeout(self.timeout, send(self.channel.clone(), request)).await.ok()
    }

    fn answered(&self) {
        self.last_answer.set(Some(Instant::now()));
        if self.is_outage_told.replace(false) {
            self.notes.note(&format!("note: server {} is back", self.url));
        }
    }

    fn tell_outage(&self, status: &Status) {
        if !self.is_outage_told.replace(true) {
            let Self { url, retry_for, .. } = self;
            let (reason, time) = (innermost(status), shown(*retry_for));
            self.notes.note(&format!("note: server {url} is away ({reason}); trying again for up to {time}"));
        }
    }

    fn unreachable(&self, status: Status, since: Instant) -> CallError {
        CallError::Unreachable {
            url: self.url.clone(),
            reason: innermost(&status),
            tried_for: since.elapsed(),
            is_gone: self.is_gone(since),
            source: Box::new(status),
        }
    }

    fn unavailable(&self, status: &Status, since: Instant) -> CallError {
        CallError::Unavailable {
            url: self.url.clone(),
            refusal: Box::new(Refusal::of(status)),
            tried_for: since.elapsed(),
            is_gone: self.is_gone(since),
        }
    }

    /// Whether nobody had an answer since then.
    fn is_gone(&self, since: Instant) -> bool {
        self.last_answer.get().is_none_or(|answer| answer <= since)
    }

    fn untrusted(&self, status: Status) -> CallError {
        CallError::Untrusted { url: self.url.clone(), reason: innermost(&status), source: Box::new(status) }
    }

    fn refused(&self, status: Status, was_repeated: bool) -> CallError {
        self.answered();
        let refusal = Box::new(Refusal::of(&status));
        CallError::Refused { refusal, status: Box::new(status), was_repeated }
    }
}

/// A call that has failed and may yet succeed.
struct Trouble {
    since: Instant,
    attempts: u32,
}

impl Trouble {
    fn begins() -> Self {
        Self { since: Instant::now(), attempts: 0 }
    }
}

/// The innermost cause: "connection refused" rather than "transport error".
fn innermost(status: &Status) -> String {
    retry::chain(status).last().map_or_else(|| status.message().to_owned(), ToString::to_string)
}

fn trial(time: Duration) -> String {
    if time < RETRY_WORTH_TELLING { String::new() } else { format!(" (tried for {})", shown(time)) }
}

fn shown(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
