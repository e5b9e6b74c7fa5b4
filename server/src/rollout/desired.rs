//! What a command asks for, in the server's own words, and whether it comes in time.

use bytes::Bytes;
use inctrl_storage::{Digest, Uri};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ids::ResourceId;

/// The heads that all models of this server are to have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Desired {
    /// Who commands: counts up whenever another takes over.
    pub(crate) epoch: i64,
    /// Order of commands within an epoch.
    pub(crate) generation: i64,
    /// Each name once.
    pub(crate) models: Vec<DesiredModel>,
}

/// The heads that one model is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DesiredModel {
    pub(crate) name: ResourceId,
    pub(crate) active: Option<HeadRef>,
    pub(crate) candidate: Option<HeadRef>,
    pub(crate) standby: Option<HeadRef>,
    /// Percent of requests that the candidate answers.
    pub(crate) weight_percent: u8,
    /// Whether candidate and active head both score every query.
    pub(crate) shadow: bool,
}

/// A head by content and place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeadRef {
    /// Number within its model; shown, not interpreted.
    pub(crate) revision: i64,
    /// Of its file.
    pub(crate) digest: Digest,
    /// Folder of its artifact.
    pub(crate) uri: Option<Uri>,
}

/// The files of a head; one that is not there is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) manifest: Bytes,
    pub(crate) weights: Bytes,
    pub(crate) self_test: Bytes,
}

/// Whether a command changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    New,
    /// The last one again.
    Known,
}

impl Desired {
    pub(crate) fn fence(&self) -> (i64, i64) {
        (self.epoch, self.generation)
    }

    /// Lets a command in that comes after this one.
    pub(super) fn admit(&self, next: &Self) -> Result<Admission, Failure> {
        let (known, given) = (self.fence(), next.fence());
        if given < known {
            return Err(Failure::StaleFence { given, known });
        }
        if known < given {
            return Ok(Admission::New);
        }
        if self == next { Ok(Admission::Known) } else { Err(Failure::FenceReused { fence: given }) }
    }
}

impl Parts {
    /// These, and where one is empty that of `other`.
    pub(super) fn or(self, other: Self) -> Self {
        let either = |mine: Bytes, theirs: Bytes| if mine.is_empty() { theirs } else { mine };
        Self {
            manifest: either(self.manifest, other.manifest),
            weights: either(self.weights, other.weights),
            self_test: either(self.self_test, other.self_test),
        }
    }

    /// Takes over what is empty here.
    pub(crate) fn add(&mut self, other: Self) {
        *self = std::mem::take(self).or(other);
    }

    pub(super) fn is_empty(&self) -> bool {
        let Self { manifest, weights, self_test } = self;
        manifest.is_empty() && weights.is_empty() && self_test.is_empty()
    }

    /// Tells these parts from any others.
    pub(super) fn identity(&self) -> Digest {
        let Self { manifest, weights, self_test } = self;
        Digest::of([manifest, weights, self_test].map(|part| Digest::of(part).to_string()).concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: i64, generation: i64, weight_percent: u8) -> Desired {
        let name = ResourceId::parse("visa").unwrap();
        let model = DesiredModel {
            name,
            active: None,
            candidate: None,
            standby: None,
            weight_percent,
            shadow: false,
        };
        Desired { epoch, generation, models: vec![model] }
    }

    #[test]
    fn a_command_must_come_after_the_last_or_be_the_last() {
        let last = at(3, 5, 10);
        for stale in [at(2, 9, 10), at(3, 4, 10)] {
            let refused = last.admit(&stale).unwrap_err();
            assert!(matches!(refused, Failure::StaleFence { known: (3, 5), .. }), "{refused}");
        }
        for next in [at(3, 6, 10), at(4, 1, 20)] {
            assert_eq!(last.admit(&next).unwrap(), Admission::New);
        }
        assert_eq!(last.admit(&at(3, 5, 10)).unwrap(), Admission::Known);
        let refused = last.admit(&at(3, 5, 20)).unwrap_err();
        assert!(matches!(refused, Failure::FenceReused { fence: (3, 5) }), "{refused}");
    }
}
