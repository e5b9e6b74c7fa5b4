//! What is wanted and how far it is: one immutable value, replaced as a whole. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use inctrl_storage::Digest;

use super::Given;
use super::check::Problem;
use super::desired::{Desired, DesiredModel, HeadRef};
use super::disk::Saved;
use crate::ids::ResourceId;
use crate::revisions::{Paired, Revision, Roles};

/// All models of the last accepted command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) desired: Desired,
    /// In the order of the command.
    pub(crate) models: Vec<ModelEntry>,
    /// Whether all of it stands on disk.
    pub(crate) durable: bool,
}

/// One model.
#[derive(Debug, Clone)]
pub(crate) struct ModelEntry {
    pub(crate) want: DesiredModel,
    /// Those wanted, and an active head that still answers in the place of the wanted one.
    pub(crate) heads: Vec<HeadEntry>,
    /// Where candidate and active head both score every query.
    pub(crate) paired: Option<Arc<Paired>>,
}

/// One head of a model.
#[derive(Debug, Clone)]
pub(crate) struct HeadEntry {
    pub(crate) role: Role,
    pub(crate) head: HeadRef,
    pub(crate) standing: Standing,
}

/// What a head is to its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Active,
    Candidate,
    Standby,
}

/// How far a head is.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    /// Being fetched or checked; with what hindered it the last time.
    Loading { trouble: Option<String> },
    /// Checked and in the scorer; it may have been taken out since.
    Loaded(Arc<Revision>),
    /// Failed a check.
    Refused(Arc<Refused>),
}

/// Why a head was refused, and what of it was looked at.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) problem: Problem,
    pub(crate) message: String,
    pub(super) tried: Digest,
}

impl Ledger {
    /// The ledger of the next command: what is known of a head is kept, unless it was refused and comes anew.
    pub(super) fn next(&self, desired: Desired, given: &Given) -> Self {
        let models = desired.models.iter().map(|want| {
            let former = self.models.iter().find(|model| model.want.name == want.name);
            let standing = |head: &HeadRef| {
                let known = former.and_then(|former| former.standing(head.digest)).cloned();
                known
                    .filter(|known| !known.comes_anew(head, given))
                    .unwrap_or(Standing::Loading { trouble: None })
            };
            let mut heads = entries(want, standing);
            let held = want.active.as_ref().zip(former.and_then(ModelEntry::answering));
            if let Some((wanted, held)) = held
                && wanted.digest != held.head.digest
            {
                heads.push(held.clone());
            }
            let paired = former.and_then(|former| former.paired.clone());
            ModelEntry { want: want.clone(), heads, paired }.settled()
        });
        let models = models.collect();
        Self { desired, models, durable: false }
    }

    /// The ledger of a state that was kept, nothing of it loaded yet.
    pub(super) fn restored(saved: Saved) -> Self {
        let Saved { desired, held } = saved;
        let loading = || Standing::Loading { trouble: None };
        let models = desired.models.iter().map(|want| {
            let mut heads = entries(want, |_| loading());
            let held = held.get(&want.name).cloned();
            heads.extend(held.map(|head| HeadEntry { role: Role::Active, head, standing: loading() }));
            ModelEntry { want: want.clone(), heads, paired: None }
        });
        let models = models.collect();
        Self { desired, models, durable: true }
    }

    /// The ledger with what became of a head.
    pub(super) fn with(&self, model: &ResourceId, digest: Digest, standing: &Standing) -> Self {
        let mut next = self.clone();
        let models = next.models.into_iter().map(|mut entry| {
            if entry.want.name == *model {
                for head in entry.heads.iter_mut().filter(|head| head.head.digest == digest) {
                    head.standing = standing.clone();
                }
            }
            entry.settled()
        });
        next.models = models.collect();
        next
    }

    /// Heads that are neither loaded nor refused, each once a model.
    pub(super) fn waiting(&self) -> Vec<(ResourceId, HeadRef)> {
        let mut waiting: Vec<(ResourceId, HeadRef)> = Vec::new();
        for model in &self.models {
            for HeadEntry { role: _, head, standing } in &model.heads {
                let is_known = |(name, known): &(ResourceId, HeadRef)| {
                    *name == model.want.name && known.digest == head.digest
                };
                if matches!(standing, Standing::Loading { .. }) && !waiting.iter().any(is_known) {
                    waiting.push((model.want.name.clone(), head.clone()));
                }
            }
        }
        waiting
    }

    /// How many heads stand so.
    pub(super) fn count(&self, stands: impl Fn(&Standing) -> bool) -> usize {
        self.models.iter().flat_map(|model| &model.heads).filter(|head| stands(&head.standing)).count()
    }

    /// Digests of all heads.
    pub(super) fn digests(&self) -> BTreeSet<Digest> {
        self.models.iter().flat_map(|model| &model.heads).map(|head| head.head.digest).collect()
    }

    /// What is to be kept of it.
    pub(super) fn saved(&self) -> Saved {
        let held = self.models.iter().filter_map(|model| {
            let held = model.answering()?;
            let is_wanted = model.want.active.as_ref().is_some_and(|head| head.digest == held.head.digest);
            (!is_wanted).then(|| (model.want.name.clone(), held.head.clone()))
        });
        Saved { desired: self.desired.clone(), held: held.collect::<BTreeMap<_, _>>() }
    }
}

/// The wanted heads by their roles.
fn entries(want: &DesiredModel, standing: impl Fn(&HeadRef) -> Standing) -> Vec<HeadEntry> {
    let DesiredModel { active, candidate, standby, .. } = want;
    let roles = [(Role::Active, active), (Role::Candidate, candidate), (Role::Standby, standby)];
    let entry = |(role, head): (Role, &Option<HeadRef>)| {
        let head = head.as_ref()?;
        let standing = standing(head);
        if let Standing::Loaded(revision) = &standing {
            revision.renumber(head.revision);
        }
        Some(HeadEntry { role, head: head.clone(), standing })
    };
    roles.into_iter().filter_map(entry).collect()
}

impl ModelEntry {
    /// The loaded heads by their roles.
    pub(crate) fn roles(&self) -> Roles {
        let loaded = |entry: Option<&HeadEntry>| entry.and_then(HeadEntry::revision).cloned();
        Roles {
            active: loaded(self.answering()),
            candidate: loaded(self.of_role(Role::Candidate)),
            standby: loaded(self.of_role(Role::Standby)),
            weight_percent: self.want.weight_percent,
            paired: self.paired.clone(),
        }
    }

    /// Percent of requests that the candidate answers: none while it is not loaded, or when it was taken out.
    pub(crate) fn effective_weight_percent(&self) -> u8 {
        let candidate = self.of_role(Role::Candidate).and_then(HeadEntry::revision);
        candidate.filter(|revision| revision.is_usable()).map_or(0, |_| self.want.weight_percent)
    }

    /// The active head that is loaded: the wanted one, else the one in its place.
    fn answering(&self) -> Option<&HeadEntry> {
        self.heads.iter().find(|entry| entry.role == Role::Active && entry.revision().is_some())
    }

    fn of_role(&self, role: Role) -> Option<&HeadEntry> {
        self.heads.iter().find(|entry| entry.role == role)
    }

    fn standing(&self, digest: Digest) -> Option<&Standing> {
        self.heads.iter().find(|entry| entry.head.digest == digest).map(|entry| &entry.standing)
    }

    /// Lets go of an active head whose place is taken, and pairs what is to be paired.
    fn settled(mut self) -> Self {
        let wanted = self.want.active.as_ref().map(|head| head.digest);
        let in_place = self.answering().is_some_and(|entry| Some(entry.head.digest) == wanted);
        self.heads.retain(|entry| {
            let is_held = entry.role == Role::Active && Some(entry.head.digest) != wanted;
            !(is_held && in_place)
        });
        let Roles { active, candidate, .. } = self.roles();
        let both = active.zip(candidate).filter(|_| self.want.shadow);
        self.paired = both.map(|(active, candidate)| {
            let known = self.paired.take().filter(|paired| {
                (paired.active(), paired.candidate()) == (active.digest(), candidate.digest())
            });
            known.unwrap_or_else(|| Arc::new(Paired::new(active.digest(), candidate.digest())))
        });
        self
    }
}

impl HeadEntry {
    /// The head in the scorer, where it is there.
    pub(crate) fn revision(&self) -> Option<&Arc<Revision>> {
        match &self.standing {
            Standing::Loaded(revision) => Some(revision),
            Standing::Loading { .. } | Standing::Refused(_) => None,
        }
    }
}

impl Standing {
    /// Whether a refused head is given with other parts than those that were refused.
    fn comes_anew(&self, head: &HeadRef, given: &Given) -> bool {
        match self {
            Self::Refused(refused) => given
                .get(&head.digest)
                .is_some_and(|parts| !parts.is_empty() && parts.identity() != refused.tried),
            Self::Loading { .. } | Self::Loaded(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
