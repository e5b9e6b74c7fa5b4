//! Who acts: one operator of all that run, by a Lease.
//!
//! The Lease is replaced with the resource version that was read, so that of two contenders one fails. Another's Lease is
//! taken over only after its holder and renewal stood still for the whole duration *by our own clock*: clocks of machines
//! are never compared. Every take-over counts `leaseTransitions` up; that count is the epoch that servers are fenced by. A Lease
//! that was deleted counts from one again: whoever holds it then raises it above what servers have heard of.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How a Lease is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who we are: unlike every other contender, also unlike our own former process.
    pub identity: String,
    /// How long a holder that does not renew keeps it.
    pub duration: Duration,
    /// How long we act without having renewed; shorter than `duration`, so that we stop before another begins.
    pub deadline: Duration,
    /// How often to try.
    pub retry: Duration,
}

/// Whether we act, and with which epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The epoch, while we act.
    pub epoch: Option<i64>,
}

/// Holder and renewal of a Lease.
type Mark = (Option<String>, Option<Timestamp>);

/// What a contender knows of the Lease.
#[derive(Debug)]
struct Contender {
    config: LeaseConfig,
    /// Holder and renewal as last seen, and when they last changed by our clock.
    seen: Option<(Mark, Instant)>,
    /// When we last renewed, and with which epoch.
    held: Option<(Instant, i64)>,
    /// The newest epoch that a server has heard of.
    fence: i64,
}

/// What to do about a Lease as it was read.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Create(Box<Lease>),
    Replace(Box<Lease>),
    Wait,
}

impl Contender {
    fn new(config: LeaseConfig) -> Self {
        Self { config, seen: None, held: None, fence: 0 }
    }

    /// Decides from what was read. `wall` is only ever written, never compared.
    fn step(&mut self, lease: Option<&Lease>, now: Instant, wall: Timestamp) -> Step {
        let Some(lease) = lease else {
            return Step::Create(Box::new(self.lease(
                ObjectMeta::default(),
                self.above(0),
                Some(wall),
                wall,
            )));
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let ours = spec.holder_identity.as_deref() == Some(&self.config.identity);
        let sign = (spec.holder_identity.clone(), spec.renew_time.as_ref().map(|time| time.0));
        let since = match &self.seen {
            Some((known, since)) if *known == sign => *since,
            Some(_) | None => now,
        };
        self.seen = Some((sign, since));
        let transitions = i64::from(spec.lease_transitions.unwrap_or(0));
        if ours {
            let acquired = spec.acquire_time.as_ref().map(|time| time.0);
            let transitions = if transitions < self.fence { self.above(transitions) } else { transitions };
            return Step::Replace(Box::new(self.lease(lease.metadata.clone(), transitions, acquired, wall)));
        }
        let released = spec.holder_identity.as_deref().is_none_or(str::is_empty);
        let theirs = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let duration = theirs.map_or(self.config.duration, Duration::from_secs).max(self.config.duration);
        if released || now.saturating_duration_since(since) >= duration {
            return Step::Replace(Box::new(self.lease(
                lease.metadata.clone(),
                self.above(transitions),
                Some(wall),
                wall,
            )));
        }
        Step::Wait
    }

    /// Takes in the newest epoch that a server has heard of. One that no Lease can count to came from none, and is passed over.
    fn heard(&mut self, fence: Option<i64>) {
        self.fence = fence.filter(|fence| *fence < i64::from(i32::MAX)).unwrap_or(0);
    }

    /// The next epoch that nobody has heard of.
    fn above(&self, transitions: i64) -> i64 {
        transitions.max(self.fence) + 1
    }

    fn lease(
        &self,
        metadata: ObjectMeta,
        transitions: i64,
        acquired: Option<Timestamp>,
        wall: Timestamp,
    ) -> Lease {
        let LeaseConfig { namespace, name, identity, duration, .. } = &self.config;
        let metadata =
            ObjectMeta { namespace: Some(namespace.clone()), name: Some(name.clone()), ..metadata };
        let spec = LeaseSpec {
            holder_identity: Some(identity.clone()),
            lease_duration_seconds: Some(duration.as_secs() as i32),
            lease_transitions: Some(transitions as i32),
            acquire_time: acquired.map(MicroTime),
            renew_time: Some(MicroTime(wall)),
            ..LeaseSpec::default()
        };
        Lease { metadata, spec: Some(spec) }
    }

    /// Takes in that a Lease was written.
    fn wrote(&mut self, lease: &Lease, began: Instant) {
        let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
        self.held = Some((began, i64::from(transitions)));
    }

    /// When we cease to act unless we renew; none where we do not act.
    fn lapse(&self) -> Option<Instant> {
        let lapse = self.held.map(|(since, _)| since + self.config.deadline);
        lapse.filter(|lapse| *lapse > Instant::now())
    }

    /// Whether we act, counted from when the last renewal was sent.
    fn leadership(&self, now: Instant) -> Leadership {
        let held =
            self.held.filter(|(since, _)| now.saturating_duration_since(*since) < self.config.deadline);
        Leadership { epoch: held.map(|(_, epoch)| epoch) }
    }
}

/// Why the Lease could not be read or written.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("the API server did not answer in time")]
    Slow(#[from] tokio::time::error::Elapsed),
    #[error("the Lease cannot be read or written")]
    Call(#[from] kube::Error),
}

/// Contends for the Lease until asked to stop, then gives it back. Tells of each change. `fence` is the newest epoch that a
/// server has heard of.
pub async fn contend(
    client: Client,
    config: LeaseConfig,
    tell: watch::Sender<Leadership>,
    fence: impl Fn() -> Option<i64>,
    stop: impl Future<Output = ()>,
) {
    let leases: Api<Lease> = Api::namespaced(client, &config.namespace);
    let retry = config.retry;
    let mut contender = Contender::new(config);
    tokio::pin!(stop);
    loop {
        contender.heard(fence());
        // We cease to act at the deadline, and stop when asked to, also where a call hangs. A renewal that is cut off may have
        // been written: the next round reads it.
        let lapse = contender.lapse();
        tokio::select! {
            ended = round(&leases, &mut contender) => {
                if let Err(error) = ended {
                    tracing::warn!(error = %inctrl_telemetry::Chain(&error), "leader election round failed");
                }
            }
            () = passed(lapse) => tracing::warn!("the Lease was not renewed in time"),
            () = &mut stop => break,
        }
        publish(&contender, &tell);
        let next = Instant::now() + retry;
        let until = contender.lapse().map_or(next, |lapse| lapse.min(next));
        tokio::select! {
            () = tokio::time::sleep_until(until) => publish(&contender, &tell),
            () = &mut stop => break,
        }
    }
    if let Err(error) = release(&leases, &mut contender).await {
        tracing::warn!(error = %inctrl_telemetry::Chain(&error), "the Lease was not given back; it lapses by itself");
    }
    contender.held = None;
    publish(&contender, &tell);
    // A moment for who holds a receiver to see it; nothing depends on it.
    sleep(Duration::ZERO).await;
}

/// Completes at a time; never where there is none.
async fn passed(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn publish(contender: &Contender, tell: &watch::Sender<Leadership>) {
    let leadership = contender.leadership(Instant::now());
    tell.send_if_modified(|known| {
        let changed = *known != leadership;
        if changed {
            tracing::info!(
                epoch = leadership.epoch,
                identity = contender.config.identity,
                "leadership changed"
            );
        }
        *known = leadership;
        changed
    });
}

async fn round(leases: &Api<Lease>, contender: &mut Contender) -> Result<(), LeaseError> {
    let patience = contender.config.deadline / 2;
    let name = contender.config.name.clone();
    let began = Instant::now();
    let lease = timeout(patience, leases.get_opt(&name)).await??;
    let params = PostParams::default();
    let written = match contender.step(lease.as_ref(), began, Timestamp::now()) {
        Step::Wait => return Ok(()),
        Step::Create(lease) => timeout(patience, leases.create(&params, &lease)).await?,
        Step::Replace(lease) => timeout(patience, leases.replace(&name, &params, &lease)).await?,
    };
    match written {
        Ok(lease) => {
            contender.wrote(&lease, began);
            Ok(())
        }
        // Another was quicker: that is an answer, not an error.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn release(leases: &Api<Lease>, contender: &mut Contender) -> Result<(), LeaseError> {
    if contender.leadership(Instant::now()).epoch.is_none() {
        return Ok(());
    }
    let name = contender.config.name.clone();
    let patience = contender.config.retry;
    // A renewal that the end cut off may come in between: then once more.
    for again in [true, false] {
        let Some(mut lease) = timeout(patience, leases.get_opt(&name)).await?? else { return Ok(()) };
        let Some(spec) = &mut lease.spec else { return Ok(()) };
        if spec.holder_identity.as_deref() != Some(&contender.config.identity) {
            return Ok(());
        }
        spec.holder_identity = None;
        match timeout(patience, leases.replace(&name, &PostParams::default(), &lease)).await? {
            Err(kube::Error::Api(status)) if again && status.code == 409 => {}
            written => return written.map(drop).map_err(LeaseError::from),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
