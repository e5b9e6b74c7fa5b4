//! The small parts of heads, which travel to servers along with the desired state, so that servers need no credentials.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::PushError;
use crate::cluster::Cluster;
use crate::controller::plan::HeadRef;
use crate::controller::stores::{HeadParts, Stores};

/// Largest part that travels along, as the API says.
const MOST_BYTES: u64 = 2 * 1024 * 1024;
/// Bytes of all parts that travel along in one message, well below what a server takes of one.
const MOST_MESSAGE_BYTES: usize = 48 * 1024 * 1024;

/// How many heads are remembered: those of a few rollouts at a time, 1.3 MiB each.
const MOST_HEADS: usize = 32;

/// Room for parts in one message: once it is spent, servers fetch the rest, for a head's URI is always named.
#[derive(Debug)]
pub(super) struct Room(usize);

impl Room {
    pub(super) fn new() -> Self {
        Self(MOST_MESSAGE_BYTES)
    }

    /// The parts, where there is room for all of them; else none, so that a head is whole or fetched.
    pub(super) fn take(&mut self, parts: HeadParts) -> HeadParts {
        let bytes = parts.manifest.len() + parts.weights.len() + parts.self_test.len();
        match self.0.checked_sub(bytes) {
            Some(left) => {
                self.0 = left;
                parts
            }
            None => HeadParts::default(),
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(bytes: usize) -> HeadParts {
        HeadParts { weights: vec![0; bytes].into(), ..HeadParts::default() }
    }

    #[test]
    fn parts_travel_along_until_a_message_is_full_and_smaller_ones_find_what_room_is_left() {
        let mut room = Room::new();
        let large = MOST_MESSAGE_BYTES / 2 + 1;
        assert_eq!(room.take(parts(large)), parts(large));
        assert_eq!(room.take(parts(large)), HeadParts::default(), "there is no room for it");
        assert_eq!(room.take(parts(large - 2)), parts(large - 2));
        assert_eq!(room.take(parts(1)), HeadParts::default(), "it is full to the last byte");
    }
}
