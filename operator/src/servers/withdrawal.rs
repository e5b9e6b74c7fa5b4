//! How servers come to drop a model: it is taken from those that answer, and from the others once they do.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::link::Link;
use super::{Fleet, ModelKey, Wanted, claims};
use crate::controller::plan::Desired;
use crate::crd::InCTRLModel;

impl Fleet {
    /// Puts in what a model is to have, or takes it out, and tells those that are served by that.
    pub(super) fn put(&self, key: &ModelKey, next: Option<Wanted>) {
        for served in self.with(|state| state.put(key, next)) {
            (self.notify)(&served);
        }
    }

    /// Takes a model from its servers; whether every one has dropped it. One that is silent has not, as far as is known: it is
    /// told as soon as it reports the model, also when the model is gone by then.
    pub async fn withdraw(&self, key: &ModelKey, model: &InCTRLModel) -> bool {
        let mine = Wanted { leaving: true, ..Wanted::of(model, Desired::default()) };
        let (looked, links) = self.with(|state| {
            let mut links = state.links_of(key, &mine.labels);
            // Where another has the name, nothing is ours.
            links.retain(|link| claims::refusal(&state.wanted, link, key, &mine).is_none());
            (state.looked, links)
        });
        let name = mine.model.clone();
        self.put(key, Some(mine));
        let mut done = looked;
        for link in links {
            done &= match link.report(&name) {
                None => false,
                Some(report) if report.knows_model => {
                    self.tell(&link).await.is_ok() && (self.is_wanted(&link, &name) || !knows(&link, &name))
                }
                Some(_) => true,
            };
        }
        done
    }

    fn is_wanted(&self, link: &Link, name: &str) -> bool {
        self.with(|state| claims::served(&state.wanted, link).iter().any(|(_, wanted)| wanted.model == name))
    }

    /// Forgets a model that is gone.
    pub fn forget(&self, key: &ModelKey) {
        self.put(key, None);
    }

    /// Tells a server that reports a model which nobody wants on it: it was silent when that one was taken away.
    pub(super) fn clear(self: &Arc<Self>, link: &Arc<Link>) {
        let wanted = self.with(|state| {
            let names =
                claims::served(&state.wanted, link).into_iter().map(|(_, wanted)| wanted.model.clone());
            Some((state.epoch?, names.collect()))
        });
        let Some((epoch, names)) = wanted else { return };
        if !link.has_others(epoch, &names) || link.clearing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (fleet, link) = (Arc::clone(self), Arc::clone(link));
        tokio::spawn(async move {
            if let Err(error) = fleet.tell(&link).await {
                let error = inctrl_telemetry::Chain(&error).to_string();
                tracing::warn!(server = link.pod, error, "server keeps a model that nobody wants");
            }
            link.clearing.store(false, Ordering::Release);
        });
    }
}

fn knows(link: &Link, name: &str) -> bool {
    link.report(name).is_some_and(|report| report.knows_model)
}
