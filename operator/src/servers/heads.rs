//! The small parts of heads, which travel to servers along with the desired state, so that servers need no credentials.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::PushError;
use crate::cluster::Cluster;
use crate::controller::plan::HeadRef;
use crate::controller::stores::{HeadParts, Stores};

/// Largest part that travels along.
const MOST_BYTES: u64 = 2 * 1024 * 1024;

/// How many heads are remembered: those of a few rollouts at a time, 1.3 MiB each.
const MOST_HEADS: usize = 32;

/// Reads the parts of heads, and remembers the last few.
#[derive(Debug)]
pub struct Heads {
    stores: Stores,
    cluster: Cluster,
    /// By digest; the order of insertion is the number.
    known: Mutex<BTreeMap<String, (u64, HeadParts)>>,
}

impl Heads {
    /// Reads through these.
    pub fn new(stores: Stores, cluster: Cluster) -> Self {
        Self { stores, cluster, known: Mutex::default() }
    }

    /// The parts of a head; none where the store does not answer, and the server has to fetch them itself.
    pub(super) async fn parts(
        &self,
        namespace: &str,
        secret: Option<&str>,
        head: &HeadRef,
    ) -> Result<Option<HeadParts>, PushError> {
        let known = |known: &BTreeMap<String, (u64, HeadParts)>| {
            known.get(&head.digest).map(|(_, parts)| parts.clone())
        };
        if let Some(parts) = known(&self.known.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(Some(parts));
        }
        let secret = match secret {
            Some(name) => self.cluster.secret(namespace, name).await?,
            None => None,
        };
        match self.stores.parts(&head.uri, secret.as_ref(), MOST_BYTES).await {
            Ok(parts) => {
                self.remember(&head.digest, parts.clone());
                Ok(Some(parts))
            }
            Err(trouble) => {
                tracing::warn!(digest = head.digest, uri = %head.uri, error = trouble.message, "head cannot be read; servers fetch it");
                Ok(None)
            }
        }
    }

    fn remember(&self, digest: &str, parts: HeadParts) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let number = known.values().map(|(number, _)| number + 1).max().unwrap_or(0);
        known.insert(digest.to_owned(), (number, parts));
        while known.len() > MOST_HEADS {
            let oldest =
                known.iter().min_by_key(|(_, (number, _))| *number).map(|(digest, _)| digest.clone());
            if let Some(oldest) = oldest {
                known.remove(&oldest);
            }
        }
    }
}
