//! The scoring servers: which there are, what each is to have, what each reports.
//!
//! A server is told everything that it is to have in one message, so what it is told is put together from all models that
//! select it. What a model is to have follows from its status; [`Fleet::adopt`] puts all of them in before the first
//! message of a new leader, for a model that is missing from a message is one that the server drops.
//!
//! ```text
//! pods --discovery--> Server --link--> WatchRolloutStatus --> report --> plan
//! plan --Push--> Fleet.desired --compose--> ApplyRollout(epoch, generation, all models)
//! ```

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use inctrl_proto::v1::ModelRollout;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use crate::controller::observation::{ServerView, Trouble};
use crate::controller::observe::fleet_name;
use crate::controller::plan::{Desired, Reach};
use crate::crd::InCTRLModel;
use crate::metrics::Metrics;

mod claims;
mod compose;
mod discovery;
mod heads;
mod link;
mod report;
mod withdrawal;

pub use discovery::{Address, Found, locate};
pub use heads::Heads;
use heads::Room;
use link::Link;
pub use link::{Dialer, PushError, TlsFiles};

/// Which model, by where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ModelKey {
    /// The key of an object, or of what the cache keeps of it.
    pub fn of(model: &impl kube::runtime::reflector::Lookup) -> Self {
        let [namespace, name] =
            [model.namespace(), model.name()].map(|text| text.map(Cow::into_owned).unwrap_or_default());
        Self { namespace, name }
    }
}

/// What a model is to have, and on which servers.
#[derive(Debug, Clone)]
struct Wanted {
    /// When the model was made: of two with one name the older one has it.
    created: Option<Timestamp>,
    /// Whether it is being deleted: its servers are still looked for, and have nothing of it.
    leaving: bool,
    labels: BTreeMap<String, String>,
    /// Name that requests ask for.
    model: String,
    desired: Desired,
    /// Port of servers whose pods name none.
    port: u16,
    /// Secret of the artifact store.
    secret: Option<String>,
}

/// Called with the models whose servers have something new to say.
pub type Notify = Arc<dyn Fn(&ModelKey) + Send + Sync>;

/// All servers and all that they are to have.
pub struct Fleet {
    dialer: Dialer,
    heads: Heads,
    notify: Notify,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Epoch of our leadership; none while another leads, and then nothing is dialled.
    epoch: Option<i64>,
    wanted: BTreeMap<ModelKey, Wanted>,
    /// Whether it was looked which pods there are: until then that there is no server says nothing.
    looked: bool,
    /// By namespace and name of the pod.
    links: BTreeMap<(String, String), Arc<Link>>,
}

impl State {
    fn links_of(&self, key: &ModelKey, labels: &BTreeMap<String, String>) -> Vec<Arc<Link>> {
        let selected = self.links.values().filter(|link| link.is_selected(&key.namespace, labels));
        selected.map(Arc::clone).collect()
    }

    /// Puts in what a model is to have, or takes it out. Returns the models that are served only now, in its place.
    fn put(&mut self, key: &ModelKey, next: Option<Wanted>) -> Vec<ModelKey> {
        let former = self.wanted.get(key);
        let makes_room = former.filter(|former| next.as_ref().is_none_or(|next| !next.claims_like(former)));
        let links = makes_room.map(|former| self.links_of(key, &former.labels)).unwrap_or_default();
        let before = self.served(&links);
        match next {
            Some(next) => self.wanted.insert(key.clone(), next),
            None => self.wanted.remove(key),
        };
        self.served(&links).into_iter().filter(|now| now != key && !before.contains(now)).collect()
    }

    fn served(&self, links: &[Arc<Link>]) -> BTreeSet<ModelKey> {
        let served = links.iter().flat_map(|link| claims::served(&self.wanted, link));
        served.map(|(key, _)| key.clone()).collect()
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

fn selects(labels: &BTreeMap<String, String>, of_pod: &BTreeMap<String, String>) -> bool {
    !labels.is_empty() && labels.iter().all(|(key, value)| of_pod.get(key) == Some(value))
}

impl Fleet {
    /// No servers yet.
    pub fn new(dialer: Dialer, heads: Heads, notify: Notify, metrics: Metrics) -> Self {
        Self { dialer, heads, notify, metrics, state: Mutex::default() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins to lead: takes in what every model is to have.
    pub fn adopt(&self, epoch: i64, models: impl Iterator<Item = InCTRLModel>) {
        let wanted = models.map(|mut model| {
            let status = model.status.take().unwrap_or_default();
            let mut desired = Desired::of(&status, None).unwrap_or_default();
            // Which server is the first to load a candidate is not known yet; those that have it keep it.
            if status.canary.is_some_and(|canary| canary.step.is_none()) {
                desired.reach = Reach::Holders;
            }
            (ModelKey::of(&model), Wanted::of(&model, desired))
        });
        let wanted = wanted.collect();
        self.with(|state| {
            state.epoch = Some(epoch);
            state.wanted = wanted;
        });
    }

    /// Ceases to lead: lets go of all servers.
    pub fn retire(&self) {
        let State { links, .. } = self.with(std::mem::take);
        for link in links.values() {
            link.close();
        }
    }

    /// Takes in which pods there are. Servers that are new are dialled, those that are gone are let go.
    pub fn saw_pods(self: &Arc<Self>, pods: &[Arc<Pod>]) {
        let found = self.with(|state| {
            state.epoch?;
            let all = state.wanted.iter().map(|(key, wanted)| (key.namespace.clone(), wanted.labels.clone()));
            Some(all.collect::<BTreeSet<_>>())
        });
        let Some(selectors) = found else { return };
        let mut present = BTreeMap::new();
        for pod in pods {
            let namespace = pod.namespace().unwrap_or_default();
            if selectors.iter().any(|(of, labels)| *of == namespace && selects(labels, pod.labels()))
                && let Some(found) = locate(pod)
            {
                present.insert((namespace, pod.name_any()), found);
            }
        }
        let (gone, changed) = self.with(|state| {
            if state.epoch.is_none() {
                return (Vec::new(), Vec::new());
            }
            state.looked = true;
            let gone: Vec<_> = state
                .links
                .iter()
                .filter(|(key, link)| present.get(*key).is_none_or(|found| !link.is_to(found)))
                .map(|(key, link)| (key.clone(), Arc::clone(link)))
                .collect();
            for (key, _) in &gone {
                state.links.remove(key);
            }
            let mut changed: Vec<_> = gone.iter().map(|(_, link)| Arc::clone(link)).collect();
            for (key, found) in present {
                if let Entry::Vacant(place) = state.links.entry(key) {
                    let (namespace, pod) = place.key().clone();
                    let link = place.insert(Arc::new(Link::new(namespace, pod, found)));
                    changed.push(Arc::clone(link));
                }
            }
            (gone, changed)
        });
        for (_, link) in &gone {
            link.close();
        }
        for link in changed {
            if !link.is_closed() {
                let port = self.port(&link);
                link::follow(&link, self.dialer.clone(), port, self.teller(&link));
            }
            self.tell_models_of(&link);
        }
    }

    /// Port of a server whose pod names none: what the first model that selects it says.
    fn port(&self, link: &Link) -> u16 {
        self.with(|state| {
            let mut wanted =
                state.wanted.iter().filter(|(key, wanted)| link.is_selected(&key.namespace, &wanted.labels));
            wanted.next().map_or(8443, |(_, wanted)| wanted.port)
        })
    }

    fn teller(self: &Arc<Self>, link: &Arc<Link>) -> impl Fn(bool) + Send + Sync + 'static + use<> {
        let (fleet, link) = (Arc::downgrade(self), Arc::downgrade(link));
        move |is_news| {
            let (Some(fleet), Some(link)) = (fleet.upgrade(), link.upgrade()) else { return };
            if is_news {
                fleet.tell_models_of(&link);
            }
            fleet.clear(&link);
        }
    }

    fn tell_models_of(&self, link: &Link) {
        let keys = self.with(|state| {
            let selecting =
                state.wanted.iter().filter(|(key, wanted)| link.is_selected(&key.namespace, &wanted.labels));
            selecting.map(|(key, _)| key.clone()).collect::<Vec<_>>()
        });
        for key in keys {
            (self.notify)(&key);
        }
    }

    /// What the servers of a model report of it, and why others that it selects are not told of it; none while another leads.
    pub fn views(&self, model: &InCTRLModel) -> Option<(Vec<ServerView>, Option<Trouble>)> {
        let (key, mine) = (ModelKey::of(model), Wanted::of(model, Desired::default()));
        let links = self.with(|state| {
            let links = state.looked.then(|| state.links_of(&key, &mine.labels))?.into_iter();
            Some(
                links
                    .map(|link| (claims::refusal(&state.wanted, &link, &key, &mine), link))
                    .collect::<Vec<_>>(),
            )
        })?;
        // A server that was found and not yet asked is neither there nor silent: wait for its first answer.
        if links.iter().any(|(_, link)| link.is_fresh()) {
            return None;
        }
        let view = |link: Arc<Link>| ServerView { name: link.pod.clone(), report: link.report(&mine.model) };
        let (mut views, mut refused) = (Vec::with_capacity(links.len()), None);
        for (refusal, link) in links {
            match refusal {
                // What it reports under the name is another's.
                Some(refusal) => refused = Some(refusal),
                None => views.push(view(link)),
            }
        }
        Some((views, refused))
    }

    /// The newest epoch that a server has heard of.
    pub fn newest_epoch(&self) -> Option<i64> {
        self.with(|state| state.links.values().filter_map(|link| link.epoch()).max())
    }

    /// How many servers answer, and how many do not.
    pub fn count(&self) -> (usize, usize) {
        let links = self.with(|state| state.links.values().map(Arc::clone).collect::<Vec<_>>());
        let answering = links.iter().filter(|link| link.answers()).count();
        (answering, links.len() - answering)
    }

    /// Takes in what a model is to have, and tells every server that it selects and that answers.
    pub async fn push(&self, key: &ModelKey, model: &InCTRLModel, desired: Desired) -> Result<(), PushError> {
        self.put(key, Some(Wanted::of(model, desired)));
        let mut first = None;
        for link in self.links_of(key, model) {
            // One that does not answer is told when it does again; it must not make the round fail for the others.
            if !link.answers() {
                continue;
            }
            if let Err(error) = self.tell(&link).await {
                first = first.or(Some(error));
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Takes in a model of which nothing is to be told yet; whether its servers have to be looked for, for no other model
    /// selects the same ones.
    pub fn note(&self, key: &ModelKey, model: &InCTRLModel) -> bool {
        let mut next = Wanted::of(model, Desired::default());
        let (served, alone) = self.with(|state| {
            if state.epoch.is_none() {
                return (Vec::new(), false);
            }
            if let Some(known) = state.wanted.get(key) {
                next.desired = known.desired.clone();
                return (state.put(key, Some(next)), false);
            }
            let mut others = state.wanted.iter();
            let alone = !others
                .any(|(other, wanted)| other.namespace == key.namespace && wanted.labels == next.labels);
            (state.put(key, Some(next)), alone)
        });
        for key in served {
            (self.notify)(&key);
        }
        alone
    }

    fn links_of(&self, key: &ModelKey, model: &InCTRLModel) -> Vec<Arc<Link>> {
        self.with(|state| state.links_of(key, &model.spec.serving.selector.match_labels))
    }

    /// Sends a server all that it is to have.
    async fn tell(&self, link: &Link) -> Result<(), PushError> {
        // One message at a time and server: what is put together later is sent later.
        let mut turn = link.turn().await;
        let (epoch, wanted) = self.with(|state| {
            let mine = claims::served(&state.wanted, link).into_iter();
            (state.epoch, mine.map(|(key, wanted)| (key.clone(), wanted.clone())).collect::<Vec<_>>())
        });
        let epoch = epoch.ok_or(PushError::NotLeading)?;
        let mut room = Room::new();
        let mut models: Vec<ModelRollout> = Vec::with_capacity(wanted.len());
        for (key, wanted) in wanted {
            let known = link.report(&wanted.model).unwrap_or_default();
            let rollout = compose::compose(&self.heads, &mut room, &key, &wanted, &link.pod, &known).await?;
            models.extend(rollout);
        }
        let sent = link.send(&mut turn, epoch, models).await;
        self.metrics.push(match &sent {
            Ok(()) => "applied",
            Err(PushError::Stale { .. } | PushError::Refused { .. }) => "refused",
            Err(PushError::NotLeading | PushError::Unreachable { .. } | PushError::Cluster(_)) => "failed",
        });
        sent
    }
}

impl Wanted {
    fn of(model: &InCTRLModel, desired: Desired) -> Self {
        Self {
            created: model.metadata.creation_timestamp.as_ref().map(|time| time.0),
            leaving: model.metadata.deletion_timestamp.is_some(),
            labels: model.spec.serving.selector.match_labels.clone(),
            model: fleet_name(model),
            port: u16::try_from(model.spec.serving.port).unwrap_or(8443),
            secret: model.spec.artifacts.secret_ref.as_ref().map(|secret| secret.name.clone()),
            desired,
        }
    }

    /// Whether it stands in the way of the same others as `former`.
    fn claims_like(&self, former: &Self) -> bool {
        let claim = |of: &Self| (of.leaving, of.created);
        claim(self) == claim(former) && self.model == former.model && self.labels == former.labels
    }
}

#[cfg(test)]
mod tests;
