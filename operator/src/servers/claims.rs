//! Which of the models that select a server it is told of. All travel in one message, which a server takes whole or not at all:
//! a name stands in it once, and there are so many models at most. The older ones go first, so that a newcomer takes nothing
//! from those that are served.

use std::collections::{BTreeMap, BTreeSet};

use super::link::Link;
use super::{ModelKey, Wanted};
use crate::controller::observation::Trouble;

/// Most models of one message, as servers take them.
const MOST_MODELS: usize = 256;

type All = BTreeMap<ModelKey, Wanted>;

fn selecting<'a>(all: &'a All, link: &Link) -> impl Iterator<Item = (&'a ModelKey, &'a Wanted)> {
    let selects = |(key, wanted): &(&ModelKey, &Wanted)| link.is_selected(&key.namespace, &wanted.labels);
    all.iter().filter(|(_, wanted)| !wanted.leaving).filter(selects)
}

/// The models that a server is told of, the oldest first.
pub(super) fn served<'a>(all: &'a All, link: &Link) -> Vec<(&'a ModelKey, &'a Wanted)> {
    let mut served: Vec<_> = selecting(all, link).collect();
    served.sort_by_key(|(key, wanted)| (wanted.created, *key));
    let mut names = BTreeSet::new();
    served.retain(|(_, wanted)| names.insert(wanted.model.as_str()));
    served.truncate(MOST_MODELS);
    served
}

/// Why a model that selects a server is not told to it.
pub(super) fn refusal(all: &All, link: &Link, key: &ModelKey, mine: &Wanted) -> Option<Trouble> {
    let mut names = BTreeSet::new();
    for (other, wanted) in selecting(all, link) {
        if (mine.created, key) <= (wanted.created, other) {
            continue;
        }
        if wanted.model == mine.model {
            let message = format!(
                "servers know {} as that of InCTRLModel {}, which is older; set another spec.serving.modelName",
                wanted.model, other.name
            );
            return Some(Trouble { reason: "NameTaken", message });
        }
        names.insert(wanted.model.as_str());
    }
    let message = format!("a server takes {MOST_MODELS} models, and so many older ones select it");
    (MOST_MODELS <= names.len()).then_some(Trouble { reason: "TooManyModels", message })
}
