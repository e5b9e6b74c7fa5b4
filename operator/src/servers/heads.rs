//! The small parts of heads, which travel to servers along with the desired state, so that servers need no credentials.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use inctrl_telemetry::Chain;
use tokio::time::{Instant, timeout};

use super::PushError;
use crate::cluster::{Cluster, ClusterError};
use crate::controller::observation::Trouble;
use crate::controller::plan::HeadRef;
use crate::controller::stores::{HeadParts, SecretValues, Stores};

/// Largest part that travels along, as the API says.
const MOST_BYTES: u64 = 2 * 1024 * 1024;
/// Bytes of all parts that travel along in one message, well below what a server takes of one.
const MOST_MESSAGE_BYTES: usize = 48 * 1024 * 1024;

/// How many heads are remembered: those of a few rollouts at a time, 1.3 MiB each.
const MOST_HEADS: usize = 32;

/// Longest that one head may hold up the message to a server, which is about all other models too.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a head that could not be read is not tried again: servers fetch it meanwhile.
const UNREADABLE: Duration = Duration::from_mins(1);

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
    /// Namespace and digest of heads that could not be read, and when.
    unreadable: Mutex<BTreeMap<(String, String), Instant>>,
}

impl Heads {
    /// Reads through these.
    pub fn new(stores: Stores, cluster: Cluster) -> Self {
        Self { stores, cluster, known: Mutex::default(), unreadable: Mutex::default() }
    }

    /// The parts of a head; none where they cannot be read, and servers have to fetch them. An API server that does not
    /// answer is an error: servers that have no credentials must not be sent to a store for that.
    pub(super) async fn parts(
        &self,
        namespace: &str,
        secret: Option<&str>,
        head: &HeadRef,
    ) -> Result<Option<HeadParts>, PushError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&head.digest).cloned();
        if let Some((_, parts)) = known {
            return Ok(Some(parts));
        }
        let place = (namespace.to_owned(), head.digest.clone());
        if self.is_unreadable(&place) {
            return Ok(None);
        }
        let secret = match secret.map(|name| self.secret(namespace, name)) {
            None => Ok(None),
            Some(asked) => asked.await?.map(Some),
        };
        let read = match secret {
            Ok(secret) => {
                let asked = self.stores.parts(&head.uri, &head.digest, secret.as_ref(), MOST_BYTES);
                let slow = |_| format!("not read within {} s", PATIENCE.as_secs());
                let answered = timeout(PATIENCE, asked).await.map_err(slow);
                answered.and_then(|found| found.map_err(|trouble| trouble.message))
            }
            Err(message) => Err(message),
        };
        match read {
            Ok(parts) => {
                self.remember(&head.digest, parts.clone());
                Ok(Some(parts))
            }
            Err(error) => {
                tracing::warn!(namespace, digest = head.digest, uri = %head.uri, error, "head cannot be read; servers fetch it");
                self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).insert(place, Instant::now());
                Ok(None)
            }
        }
    }

    fn is_unreadable(&self, place: &(String, String)) -> bool {
        let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        unreadable.retain(|_, since| since.elapsed() < UNREADABLE);
        unreadable.contains_key(place)
    }

    /// A Secret, or why it is not to be had: it is not there, or not for us.
    async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Result<SecretValues, String>, ClusterError> {
        match self.cluster.secret(namespace, name).await {
            Ok(found) => Ok(found.ok_or_else(|| Trouble::no_secret(name).message)),
            Err(error) if error.is_refusal() => Ok(Err(Chain(&error).to_string())),
            Err(error) => Err(error),
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
