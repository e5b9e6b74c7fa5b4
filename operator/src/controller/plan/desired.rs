//! What servers are to be told of a model. Follows from its status alone, but for which server is first to load a candidate.

use inctrl_storage::{Uri, UriError};

use super::history;
use crate::controller::observation::{Role, ServerReport, ServerView};
use crate::crd::{InCTRLModelStatus, Revision};

/// What servers are to be told of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// The head that answers.
    pub active: Option<HeadRef>,
    /// The head that is tried.
    pub candidate: Option<HeadRef>,
    /// Which servers are told of it.
    pub reach: Reach,
    /// Percent of requests that it answers.
    pub weight: i64,
    /// The head that is kept for a return.
    pub standby: Option<HeadRef>,
}

/// A head by content and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRef {
    /// Number of the revision.
    pub revision: i64,
    /// "sha256:" and the digest.
    pub digest: String,
    /// Folder of the artifact.
    pub uri: Uri,
}

/// Which servers are told of a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reach {
    /// Every server.
    #[default]
    All,
    /// The first one alone: a head that kills its server kills one.
    Pilot(String),
    /// Those that have it: what an operator assumes that has not heard of any server yet.
    Holders,
}

impl Desired {
    /// What follows from a status.
    pub fn of(status: &InCTRLModelStatus, servers: Option<&[ServerView]>) -> Result<Self, UriError> {
        let head = |row: Option<&Revision>| row.map(HeadRef::of).transpose();
        let bake = status.bake.as_ref();
        let standby = bake.and_then(|bake| history::find(status, bake.standby_revision));
        let candidate = status.candidate.as_ref().filter(|_| status.canary.is_some());
        let digest = candidate.and_then(|candidate| candidate.digest.as_deref());
        let canary = status.canary.as_ref();
        let trying = canary.is_some_and(|canary| canary.step.is_some());
        Ok(Self {
            active: head(status.active.as_ref())?,
            candidate: head(candidate)?,
            reach: digest.filter(|_| !trying).map_or(Reach::All, |digest| reach(servers, digest)),
            weight: canary.map_or(0, |canary| canary.weight),
            standby: head(standby)?,
        })
    }

    /// What one server is to be told.
    #[must_use]
    pub fn for_server(mut self, server: &str, known: &ServerReport) -> Self {
        let told = match (&self.reach, &self.candidate) {
            (Reach::All, _) | (_, None) => true,
            (Reach::Pilot(pilot), Some(_)) => pilot == server,
            (Reach::Holders, Some(head)) => known.head(Role::Candidate, &head.digest).is_some(),
        };
        if !told {
            self.candidate = None;
            self.weight = 0;
        }
        self.reach = Reach::All;
        self
    }

    /// Whether a server reports just this. A head that it refused counts as told: telling again changes nothing.
    pub fn is_known_to(&self, report: &ServerReport) -> bool {
        let Self { active, candidate, reach: _, weight, standby } = self;
        let told = |role, head: &Option<HeadRef>| match head {
            Some(head) => report.head(role, &head.digest).is_some(),
            None => !report.heads.iter().any(|head| head.role == role),
        };
        let tried = candidate.as_ref().is_some_and(|head| report.has_loaded(Role::Candidate, &head.digest));
        let nothing = active.is_none() && candidate.is_none() && standby.is_none();
        report.knows_model != nothing
            && told(Role::Active, active)
            && told(Role::Candidate, candidate)
            && told(Role::Standby, standby)
            && (!tried || report.weight == *weight)
    }
}

impl HeadRef {
    fn of(row: &Revision) -> Result<Self, UriError> {
        let Revision { revision, digest, uri, .. } = row;
        let uri = uri.as_deref().unwrap_or_default().parse()?;
        Ok(Self { revision: *revision, digest: digest.clone().unwrap_or_default(), uri })
    }
}

/// All servers once one has loaded the candidate; until then the first by name that answers.
fn reach(servers: Option<&[ServerView]>, digest: &str) -> Reach {
    let answering = || servers.into_iter().flatten().filter(|server| server.report.is_some());
    let proven = answering()
        .filter_map(|server| server.report.as_ref())
        .any(|report| report.has_loaded(Role::Candidate, digest));
    if proven {
        return Reach::All;
    }
    answering().map(|server| &server.name).min().map_or(Reach::All, |pilot| Reach::Pilot(pilot.clone()))
}
