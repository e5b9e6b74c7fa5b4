//! Heads of the past: newest first, numbered upwards, never a number twice.

use crate::crd::{InCTRLModelStatus, Revision};

/// What became of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Passed the gate, not decided.
    Candidate,
    /// Answers.
    Active,
    /// Answered once, or was given up for a newer one.
    Superseded,
    /// The gate refused it.
    Rejected,
    /// It was taken back.
    RolledBack,
}

impl Phase {
    /// As the status writes it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Candidate => "Candidate",
            Self::Active => "Active",
            Self::Superseded => "Superseded",
            Self::Rejected => "Rejected",
            Self::RolledBack => "RolledBack",
        }
    }

    /// Whether a row is of this phase.
    pub(super) fn is_of(self, row: &Revision) -> bool {
        row.phase.as_deref() == Some(self.as_str())
    }
}

/// Number of the next head.
pub(super) fn next(status: &InCTRLModelStatus) -> i64 {
    let InCTRLModelStatus { active, candidate, history, last_revision, .. } = status;
    let used = history.iter().chain(active).chain(candidate).map(|row| row.revision);
    used.chain(*last_revision).max().unwrap_or(0) + 1
}

/// Writes a head's row, with what became of it.
pub(super) fn record(status: &mut InCTRLModelStatus, mut row: Revision, phase: Phase, reason: Option<&str>) {
    row.phase = Some(phase.as_str().to_owned());
    row.reason = reason.map(str::to_owned);
    if let Some(known) = status.history.iter_mut().find(|known| known.revision == row.revision) {
        *known = row;
    } else {
        let place = status.history.partition_point(|known| known.revision > row.revision);
        status.history.insert(place, row);
    }
}

/// Why the newest head that was taken back was.
pub fn newest_rollback(status: &InCTRLModelStatus) -> Option<&str> {
    status.history.iter().find(|row| Phase::RolledBack.is_of(row))?.reason.as_deref()
}

/// The row of a head.
pub(super) fn find(status: &InCTRLModelStatus, revision: i64) -> Option<&Revision> {
    status.history.iter().find(|row| row.revision == revision)
}

/// Forgets the oldest rows beyond the limit, but never those of heads that servers hold, nor the newest: what became of it is
/// what people ask.
pub(super) fn trim(status: &mut InCTRLModelStatus, limit: i64) {
    let limit = usize::try_from(limit).unwrap_or(1).max(1);
    let held = [
        status.history.first().map(|newest| newest.revision),
        status.active.as_ref().map(|active| active.revision),
        status.bake.as_ref().map(|bake| bake.standby_revision),
    ];
    while status.history.len() > limit {
        let oldest = status.history.iter().rposition(|row| !held.contains(&Some(row.revision)));
        match oldest {
            Some(place) => {
                status.history.remove(place);
            }
            None => break,
        }
    }
}
