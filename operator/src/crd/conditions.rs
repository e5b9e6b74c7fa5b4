//! Conditions: their types, and how one changes. Most reasons stand where they are given; those that something is decided by
//! are here. All of them are listed in `docs/operator.md`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One aspect of an InCTRLModel's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which aspect.
    #[serde(rename = "type")]
    #[schemars(
        length(max = 316),
        regex(
            pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
        )
    )]
    pub type_: String,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// Generation of the spec that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When status last changed.
    pub last_transition_time: Timestamp,
    /// Why, in one word for programs.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"))]
    pub reason: String,
    /// Why, for people. Never names pods, times or counters.
    #[schemars(length(max = 32_768))]
    pub message: String,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Not looked at yet.
    Unknown,
}

impl ConditionStatus {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Which aspect a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// An approved head is active and every reachable selected server reports its digest.
    Ready,
    /// The data set's fingerprint is known.
    DatasetResolved,
    /// The newest wanted run finished and its artifact was verified.
    Trained,
    /// The newest head met all bounds.
    GatePassed,
    /// A training run or a rollout is under way.
    Progressing,
    /// Something needs a person; serving may be fine.
    Degraded,
    /// `spec.suspend`.
    Suspended,
}

impl ConditionType {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Ready,
        Self::DatasetResolved,
        Self::Trained,
        Self::GatePassed,
        Self::Progressing,
        Self::Degraded,
        Self::Suspended,
    ];

    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::DatasetResolved => "DatasetResolved",
            Self::Trained => "Trained",
            Self::GatePassed => "GatePassed",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
            Self::Suspended => "Suspended",
        }
    }
}

/// The condition of a type, where it was set.
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

/// Whether a condition was set and holds.
pub fn holds(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == ConditionStatus::True)
}

/// Reasons that something is decided by.
pub mod reason {
    /// A run left no manifest in its folder.
    pub const ARTIFACT_MISSING: &str = "ArtifactMissing";
    /// An artifact is not what was asked for.
    pub const DIGEST_MISMATCH: &str = "DigestMismatch";
    /// There is nothing at a URI.
    pub const NOT_FOUND: &str = "NotFound";
}

/// Most characters of a message. Stores and servers may say more, and no status may be refused for it.
const LONGEST_MESSAGE: usize = 1024;

/// What a condition becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

/// Sets a condition. The time of the transition moves only when the status does.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: ConditionType,
    verdict: Verdict,
    generation: Option<i64>,
    now: Timestamp,
) {
    let Verdict { status, reason, message } = verdict;
    let earlier = find(conditions, type_).filter(|condition| condition.status == status);
    let last_transition_time = earlier.map_or(now, |condition| condition.last_transition_time);
    let condition = Condition {
        type_: type_.as_str().to_owned(),
        status,
        observed_generation: generation,
        last_transition_time,
        reason: reason.to_owned(),
        message: cut(message),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == type_.as_str()) {
        Some(place) => *place = condition,
        None => conditions.push(condition),
    }
}

fn cut(message: String) -> String {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        None => message,
        Some(_) => message.chars().take(LONGEST_MESSAGE - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: ConditionStatus, reason: &'static str) -> Verdict {
        Verdict { status, reason, message: String::new() }
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let (first, second, third) =
            (Timestamp::UNIX_EPOCH, Timestamp::from_second(10).unwrap(), Timestamp::from_second(20).unwrap());
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            ConditionType::Ready,
            verdict(ConditionStatus::False, "NoHeadYet"),
            Some(1),
            first,
        );
        set(&mut conditions, ConditionType::Ready, verdict(ConditionStatus::False, "Other"), Some(2), second);
        assert_eq!(conditions[0].last_transition_time, first);
        assert_eq!((conditions[0].reason.as_str(), conditions[0].observed_generation), ("Other", Some(2)));
        set(&mut conditions, ConditionType::Ready, verdict(ConditionStatus::True, "Serving"), Some(2), third);
        assert_eq!(conditions[0].last_transition_time, third);
        assert_eq!(conditions.len(), 1);
        assert!(holds(&conditions, ConditionType::Ready));
    }

    #[test]
    fn a_message_is_cut_and_says_so() {
        let mut conditions = Vec::new();
        let mut said = |message: String| {
            let verdict = Verdict { status: ConditionStatus::False, reason: "Unreachable", message };
            set(&mut conditions, ConditionType::Ready, verdict, Some(1), Timestamp::UNIX_EPOCH);
            conditions[0].message.clone()
        };
        assert_eq!(said("ä".repeat(1024)), "ä".repeat(1024));
        let cut = said("ä".repeat(100_000));
        assert!(cut.chars().count() == 1024 && cut.ends_with('…'), "{cut}");
        assert_eq!(said(cut.clone()), cut, "what was written is what is compared with");
    }
}
