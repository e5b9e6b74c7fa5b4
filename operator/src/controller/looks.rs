//! Answers from outside the cluster: data sets and artifacts, remembered in memory. Losing them costs a second look, never a
//! decision: what decides stands in the status.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::observation::{ArtifactView, CleanupView, DatasetView, Look, Trouble};
use crate::crd::{Dataset, FingerprintKind};

/// What makes two data sets one: models of a namespace that read the same one share a look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DatasetKey {
    namespace: String,
    uri: String,
    secret: Option<String>,
    content: bool,
}

impl DatasetKey {
    /// The key of a data set as a model of the namespace names it.
    pub fn of(namespace: &str, dataset: &Dataset) -> Self {
        Self {
            namespace: namespace.to_owned(),
            uri: dataset.uri.clone(),
            secret: dataset.secret_ref.as_ref().map(|secret| secret.name.clone()),
            content: dataset.fingerprint == FingerprintKind::Content,
        }
    }
}

/// All answers.
#[derive(Debug, Default)]
pub struct Looks {
    datasets: Mutex<BTreeMap<DatasetKey, Look<DatasetView>>>,
    /// By uid of the model and key of the run.
    artifacts: Mutex<BTreeMap<(String, String), Look<ArtifactView>>>,
    /// By uid of the model: key of the run, why its Job is refused, how often in a row.
    refusals: Mutex<BTreeMap<String, (String, Trouble, u32)>>,
    /// By uid.
    cleanups: Mutex<BTreeMap<String, CleanupView>>,
}

fn with<T, R>(mutex: &Mutex<T>, work: impl FnOnce(&mut T) -> R) -> R {
    work(&mut mutex.lock().unwrap_or_else(PoisonError::into_inner))
}

fn next<T>(former: Option<&Look<T>>, found: Result<T, Trouble>, at: Timestamp) -> Look<T> {
    let failures = match found {
        Ok(_) => 0,
        Err(_) => former.map_or(0, |look| look.failures).saturating_add(1),
    };
    Look { at, failures, found }
}

impl Looks {
    /// Newest look at a data set.
    pub fn dataset(&self, key: &DatasetKey) -> Option<Look<DatasetView>> {
        with(&self.datasets, |looks| looks.get(key).cloned())
    }

    /// Remembers a look at a data set.
    pub fn saw_dataset(&self, key: DatasetKey, found: Result<DatasetView, Trouble>, at: Timestamp) {
        with(&self.datasets, |looks| {
            let look = next(looks.get(&key), found, at);
            looks.insert(key, look);
        });
    }

    /// Newest look at the artifact of a run.
    pub fn artifact(&self, uid: &str, key: &str) -> Option<Look<ArtifactView>> {
        with(&self.artifacts, |looks| looks.get(&(uid.to_owned(), key.to_owned())).cloned())
    }

    /// Remembers a look at an artifact; the one of a model's newest run is all that is ever asked for.
    pub fn saw_artifact(&self, uid: &str, key: &str, found: Result<ArtifactView, Trouble>, at: Timestamp) {
        with(&self.artifacts, |looks| {
            let place = (uid.to_owned(), key.to_owned());
            let look = next(looks.get(&place), found, at);
            looks.retain(|(owner, _), _| owner != uid);
            looks.insert(place, look);
        });
    }

    /// Why the Job of a run is refused, as far as is known.
    pub fn refusal(&self, uid: &str, key: &str) -> Option<Trouble> {
        with(&self.refusals, |all| {
            let (of, trouble, _) = all.get(uid)?;
            (of == key).then(|| trouble.clone())
        })
    }

    /// Remembers that the Job of a run was refused; how often in a row by now. The first words stay: what refuses may tell
    /// times and numbers.
    pub fn saw_refusal(&self, uid: &str, key: &str, trouble: Trouble) -> u32 {
        with(&self.refusals, |all| {
            let former = all.remove(uid).filter(|(of, _, _)| of == key);
            let times = former.as_ref().map_or(0, |(_, _, times)| *times).saturating_add(1);
            let former = former.map(|(_, trouble, _)| trouble).filter(|known| known.reason == trouble.reason);
            all.insert(uid.to_owned(), (key.to_owned(), former.unwrap_or(trouble), times));
            times
        })
    }

    /// Forgets that a Job was refused, for it is there.
    pub fn saw_job(&self, uid: &str) {
        with(&self.refusals, |all| all.remove(uid));
    }

    /// How far the clean-up of a model is.
    pub fn cleanup(&self, uid: &str) -> CleanupView {
        with(&self.cleanups, |looks| looks.get(uid).cloned().unwrap_or_default())
    }

    /// Remembers how far it is.
    pub fn saw_cleanup(&self, uid: &str, view: CleanupView) {
        with(&self.cleanups, |looks| looks.insert(uid.to_owned(), view));
    }

    /// Forgets a model that is gone.
    pub fn forget(&self, uid: &str) {
        with(&self.artifacts, |looks| looks.retain(|(owner, _), _| owner != uid));
        with(&self.cleanups, |looks| looks.remove(uid));
        self.saw_job(uid);
    }

    /// Forgets data sets that no model names any more.
    pub fn keep_datasets(&self, named: impl Fn(&DatasetKey) -> bool) {
        with(&self.datasets, |looks| looks.retain(|key, _| named(key)));
    }
}
