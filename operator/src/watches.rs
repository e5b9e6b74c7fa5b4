//! What is watched: models, their Jobs, pods. Each watch has a back-off of its own, so that one that is refused does not hold up
//! the others, and a sign of life, so that one that hangs is seen.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt as _;
use http::{Request, Response};
use kube::api::Api;
use kube::client::Body;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt as _, reflector::Lookup};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tower::{Layer, Service};

/// How long the API server keeps one watch call open. Below the four minutes after which load balancers drop idle ones.
pub const WATCH_SECONDS: u32 = 200;

/// A watch that was not heard of for so long hangs: three calls, with the time that a dead one takes to be noticed.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(3 * (WATCH_SECONDS as u64 + 5));

/// Objects of one page of a list. They come with what is left out of the cache, which is several times what is kept.
const PAGE: u32 = 100;

/// The kinds watched, by the last segment of their paths.
pub const KINDS: [&str; 3] = ["inctrlmodels", "jobs", "pods"];

/// When each watch was last known to be alive: its call was answered. A call lasts [`WATCH_SECONDS`] at most, so a live watch is
/// heard of at least that often, whether anything happens or not.
#[derive(Debug, Clone)]
pub struct SignsOfLife {
    start: Instant,
    seconds: Arc<[AtomicU64; KINDS.len()]>,
}

impl Default for SignsOfLife {
    fn default() -> Self {
        Self { start: Instant::now(), seconds: Arc::default() }
    }
}

impl SignsOfLife {
    fn note(&self, kind: &str) {
        if let Some(place) = KINDS.iter().position(|known| *known == kind) {
            self.seconds[place].store(self.start.elapsed().as_secs(), Ordering::Relaxed);
        }
    }

    /// Time since each watch was last heard of.
    pub fn ages(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let now = self.start.elapsed().as_secs();
        let heard = |place: usize| self.seconds[place].load(Ordering::Relaxed);
        let ages = KINDS.into_iter().enumerate();
        ages.map(move |(place, kind)| (kind, Duration::from_secs(now.saturating_sub(heard(place)))))
    }

    /// Fails when a watch hangs.
    pub fn check(&self) -> Result<(), String> {
        match self.ages().find(|(_, age)| *age > LONGEST_SILENCE) {
            Some((kind, age)) => Err(format!("the watch of {kind} was not heard of for {} s", age.as_secs())),
            None => Ok(()),
        }
    }
}

impl<S> Layer<S> for SignsOfLife {
    type Service = Listening<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Listening { inner, signs: self.clone() }
    }
}

/// Notes the answers to watch calls.
#[derive(Debug, Clone)]
pub struct Listening<S> {
    inner: S,
    signs: SignsOfLife,
}

/// Kind that a call watches, if it is a watch.
fn watched<B>(request: &Request<B>) -> Option<&'static str> {
    let query = request.uri().query()?;
    query.split('&').find(|pair| matches!(*pair, "watch=true" | "watch=1"))?;
    let last = request.uri().path().rsplit('/').next()?;
    KINDS.into_iter().find(|kind| *kind == last)
}

impl<S, B> Service<Request<Body>> for Listening<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let kind = watched(&request);
        let signs = self.signs.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            if let Some(kind) = kind.filter(|_| answer.status().is_success()) {
                signs.note(kind);
            }
            Ok(answer)
        })
    }
}

/// What a watch tells of.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a, K> {
    /// An object is there, or has changed.
    Changed(&'a K),
    /// An object is gone.
    Gone(&'a K),
    /// Everything was listed anew.
    Listed,
}

/// Watches until the end of the process: keeps in the cache what `kept` leaves of each object, tells of what happened.
pub async fn watch<K, P>(
    kind: &'static str,
    api: Api<K>,
    labels: Option<String>,
    mut writer: Writer<P>,
    kept: fn(K) -> P,
    tell: impl Fn(Seen<'_, P>),
) where
    K: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    P: Lookup + Clone + 'static,
    P::DynamicType: Eq + std::hash::Hash + Clone,
{
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    if let Some(labels) = labels {
        config = config.labels(&labels);
    }
    let events = watcher(api, config).default_backoff();
    let mut events = std::pin::pin!(events);
    let cache = writer.as_reader();
    let mut listed_before = false;
    let mut former = Vec::new();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => leave(event, kept),
            Err(error) => {
                let error = inctrl_telemetry::Chain(&error).to_string();
                tracing::warn!(kind, error, "watch failed; it is tried again");
                continue;
            }
        };
        writer.apply_watcher_event(&event);
        match &event {
            Event::Apply(object) => tell(Seen::Changed(object)),
            Event::Delete(object) => tell(Seen::Gone(object)),
            Event::Init => former = cache.state(),
            Event::InitApply(_) => {}
            Event::InitDone => {
                let former = std::mem::take(&mut former);
                // A list after a watch that broke is all that tells of what happened meanwhile.
                if std::mem::replace(&mut listed_before, true) {
                    let now = cache.state();
                    missing_from(&former, &now).for_each(|object| tell(Seen::Changed(object)));
                    missing_from(&now, &former).for_each(|object| tell(Seen::Gone(object)));
                }
                tell(Seen::Listed);
            }
        }
    }
}

/// The same event with what is kept of its object.
fn leave<K, P>(event: Event<K>, kept: fn(K) -> P) -> Event<P> {
    match event {
        Event::Apply(object) => Event::Apply(kept(object)),
        Event::Delete(object) => Event::Delete(kept(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(kept(object)),
        Event::InitDone => Event::InitDone,
    }
}

/// Objects of the second list that are not in the first, in just this version.
fn missing_from<'a, P: Lookup>(
    first: &[Arc<P>],
    second: &'a [Arc<P>],
) -> impl Iterator<Item = &'a P> + use<'a, P> {
    let version = |object: &P| {
        let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        (owned(object.uid()), owned(object.resource_version()))
    };
    let known: BTreeSet<_> = first.iter().map(|object| version(object)).collect();
    second.iter().map(|object| &**object).filter(move |object| !known.contains(&version(object)))
}

#[cfg(test)]
mod tests;
