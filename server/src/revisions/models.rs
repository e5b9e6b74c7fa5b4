//! All models of this server: the one it was started with, and those that were rolled out to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::route::{Pairing, is_chosen};
use super::{Paired, Revision, Route};
use crate::failure::{Failure, Resource};
use crate::ids::ResourceId;

/// Models that a refusal names.
const MOST_NAMED: usize = 8;

/// The loaded heads of one rolled-out model by their role.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roles {
    /// Answers.
    pub(crate) active: Option<Arc<Revision>>,
    /// Is tried.
    pub(crate) candidate: Option<Arc<Revision>>,
    /// Answers when the active head was taken out.
    pub(crate) standby: Option<Arc<Revision>>,
    /// Percent of requests that the candidate answers.
    pub(crate) weight_percent: u8,
    /// Where candidate and active head both score every query.
    pub(crate) paired: Option<Arc<Paired>>,
}

/// What a model is served by.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) name: ResourceId,
    pub(crate) active: Arc<Revision>,
    pub(crate) candidate: Option<Arc<Revision>>,
    pub(crate) weight_percent: u8,
}

/// All models of this server.
#[derive(Debug)]
pub(crate) struct Models {
    /// Answers requests that name none; the configured head is of this model.
    default: ResourceId,
    configured: Option<Arc<Revision>>,
    rolled_out: ArcSwap<BTreeMap<ResourceId, Roles>>,
}

impl Models {
    /// The default model with its head by configuration, where there is one.
    pub(crate) fn new(default: ResourceId, configured: Option<Arc<Revision>>) -> Self {
        Self { default, configured, rolled_out: ArcSwap::default() }
    }

    /// Serves these from now on; requests in flight keep what they began with.
    pub(crate) fn publish(&self, rolled_out: BTreeMap<ResourceId, Roles>) {
        self.rolled_out.store(Arc::new(rolled_out));
    }

    /// The heads of a request, and its model. `key` decides between active head and candidate.
    pub(crate) fn resolve(
        &self,
        model: Option<&ResourceId>,
        revision: Option<&str>,
        key: &str,
    ) -> Result<(ResourceId, Route), Failure> {
        let rolled_out = self.rolled_out.load();
        let name = model.unwrap_or_else(|| self.default_of(&rolled_out));
        let (roles, configured) = (rolled_out.get(name), self.configured_of(name));
        if roles.is_none() && configured.is_none() && model.is_none() && !rolled_out.is_empty() {
            let said = format!("is empty, and there is no models/{name} here; name {}", listed(&rolled_out));
            return Err(Failure::invalid("options.model", said));
        }
        if roles.is_none() && configured.is_none() && model.is_some() {
            return Err(Failure::NotFound {
                resource: Resource::Model,
                name: format!("models/{name}"),
                hint: "leave the model empty for the default, or ask GetServerInfo for those served",
            });
        }
        let route = match revision {
            None => route(roles, configured, key).ok_or_else(|| Failure::NoHead { model: name.clone() })?,
            Some(wanted) => {
                let pinned = roles.into_iter().flat_map(|roles| [&roles.active, &roles.candidate]).flatten();
                let mut pinned = pinned.chain(configured).filter(|head| head.is_usable());
                let pinned =
                    pinned.find(|head| head.digest() == wanted).ok_or_else(|| Failure::NotFound {
                        resource: Resource::Revision,
                        name: wanted.to_owned(),
                        hint: "it is not loaded here; leave the revision empty for the active one",
                    })?;
                Route::to(Arc::clone(pinned))
            }
        };
        Ok((name.clone(), route))
    }

    /// Every model that a head answers for, the default first.
    pub(crate) fn list(&self) -> Vec<Served> {
        let rolled_out = self.rolled_out.load();
        let default = self.default_of(&rolled_out);
        let configured = self.configured.iter().map(|_| &self.default);
        let mut names: Vec<&ResourceId> = rolled_out.keys().chain(configured).collect();
        names.sort_by_key(|name| (*name != default, *name));
        names.dedup();
        let served = names.into_iter().filter_map(|name| {
            let roles = rolled_out.get(name);
            let mut answering = order(roles, self.configured_of(name), false).into_iter().flatten();
            let candidate = roles.and_then(|roles| usable(roles.candidate.as_ref()));
            Some(Served {
                name: name.clone(),
                active: Arc::clone(answering.next()?),
                weight_percent: candidate.and(roles).map_or(0, |roles| roles.weight_percent),
                candidate: candidate.cloned(),
            })
        });
        served.collect()
    }

    /// Whether any request can be answered.
    pub(crate) fn answers(&self) -> bool {
        !self.list().is_empty()
    }

    /// The default by name; where nothing is called so, the only model there is.
    fn default_of<'a>(&'a self, rolled_out: &'a BTreeMap<ResourceId, Roles>) -> &'a ResourceId {
        let is_there = self.configured.is_some() || rolled_out.contains_key(&self.default);
        match rolled_out.first_key_value() {
            Some((only, _)) if !is_there && rolled_out.len() == 1 => only,
            _ => &self.default,
        }
    }

    fn configured_of(&self, name: &ResourceId) -> Option<&Arc<Revision>> {
        self.configured.as_ref().filter(|_| *name == self.default)
    }
}

/// The names of models, for people; many are cut short.
fn listed(models: &BTreeMap<ResourceId, Roles>) -> String {
    let mut names: Vec<_> = models.keys().take(MOST_NAMED).map(|name| format!("models/{name}")).collect();
    if MOST_NAMED < models.len() {
        names.push(format!("one of {} more that GetServerInfo lists", models.len() - MOST_NAMED));
    }
    names.join(" or ")
}

/// Who answers a routing key, and who takes over or scores besides.
fn route(roles: Option<&Roles>, configured: Option<&Arc<Revision>>, key: &str) -> Option<Route> {
    let candidate =
        roles.and_then(|roles| usable(roles.candidate.as_ref()).map(|head| (head, roles.weight_percent)));
    let chosen = candidate.is_some_and(|(head, weight)| is_chosen(head.digest(), key, weight));
    let mut heads = order(roles, configured, chosen).into_iter().flatten();
    let (revision, other) = (Arc::clone(heads.next()?), heads.next().cloned());
    let both = roles.is_some_and(|roles| usable(roles.active.as_ref()).is_some() && candidate.is_some());
    let paired = roles.filter(|_| both).and_then(|roles| roles.paired.clone());
    let pairing = paired.map(|paired| Pairing { paired, candidate_answers: chosen });
    Some(Route { revision, other, pairing })
}

/// The heads that can answer, first come first. Active head and candidate are next to each other where both can.
fn order<'a>(
    roles: Option<&'a Roles>,
    configured: Option<&'a Arc<Revision>>,
    candidate_first: bool,
) -> [Option<&'a Arc<Revision>>; 4] {
    let configured = usable(configured);
    let Some(Roles { active, candidate, standby, .. }) = roles else {
        return [configured, None, None, None];
    };
    let has_active = active.is_some();
    let (active, candidate, standby) =
        (usable(active.as_ref()), usable(candidate.as_ref()), usable(standby.as_ref()));
    if candidate_first {
        [candidate, active, standby, configured]
    } else if active.is_some() {
        [active, candidate, standby, configured]
    } else if has_active {
        // It was taken out: a head that answered before comes before one that is only tried.
        [standby, candidate, configured, None]
    } else {
        [configured, None, None, None]
    }
}

fn usable(head: Option<&Arc<Revision>>) -> Option<&Arc<Revision>> {
    head.filter(|head| head.is_usable())
}

#[cfg(test)]
mod tests {
    use inctrl_model::{HeadError, HeadKind};

    use super::*;
    use crate::revisions::Bell;
    use crate::scorer::{Garbage, HeadInfo, HeadKey, ScorerError};

    fn id(text: &str) -> ResourceId {
        ResourceId::parse(text).unwrap()
    }

    fn head(digest: &str) -> Arc<Revision> {
        let info = HeadInfo { digest: digest.to_owned(), kind: HeadKind::Contextual };
        Arc::new(Revision::new(HeadKey(0), info, Arc::new(Bell::new()), Arc::new(Garbage::default())))
    }

    fn break_down(head: &Revision) {
        let error = HeadError::Panicked { message: "index out of range".to_owned() };
        head.scored(Some(&ScorerError::Head(Arc::new(error))));
    }

    fn digests(models: &Models, model: Option<&str>) -> (String, Option<String>) {
        let model = model.map(id);
        let (_, route) = models.resolve(model.as_ref(), None, "key").unwrap();
        (route.revision.digest().to_owned(), route.other.map(|other| other.digest().to_owned()))
    }

    fn rolled_out(roles: Roles) -> BTreeMap<ResourceId, Roles> {
        BTreeMap::from([(id("visa"), roles)])
    }

    #[test]
    fn traffic_leaves_a_head_that_breaks_down() {
        let models = Models::new(id("visa"), Some(head("by-configuration")));
        let [active, candidate] = ["active", "candidate"].map(head);
        models.publish(rolled_out(Roles {
            active: Some(Arc::clone(&active)),
            candidate: Some(Arc::clone(&candidate)),
            weight_percent: 100,
            ..Roles::default()
        }));
        let told = |first: &str, other: Option<&str>| (first.to_owned(), other.map(str::to_owned));
        assert_eq!(digests(&models, None), told("candidate", Some("active")));
        break_down(&candidate);
        assert_eq!(digests(&models, None), told("active", Some("by-configuration")));
        break_down(&active);
        assert_eq!(digests(&models, None), told("by-configuration", None));
        assert!(models.answers());
    }

    #[test]
    fn a_standby_answers_only_in_place_of_an_active_head_that_broke_down() {
        let models = Models::new(id("default"), None);
        let active = head("active");
        models.publish(rolled_out(Roles {
            active: Some(Arc::clone(&active)),
            standby: Some(head("standby")),
            ..Roles::default()
        }));
        assert_eq!(digests(&models, Some("visa")).0, "active");
        break_down(&active);
        assert_eq!(digests(&models, Some("visa")).0, "standby");
    }

    #[test]
    fn a_model_without_a_head_refuses_and_a_name_that_nobody_knows_is_not_found() {
        let models = Models::new(id("default"), None);
        assert!(!models.answers());
        assert!(matches!(models.resolve(None, None, ""), Err(Failure::NoHead { .. })));
        assert!(matches!(models.resolve(Some(&id("visa")), None, ""), Err(Failure::NotFound { .. })));
        models.publish(rolled_out(Roles::default()));
        assert!(matches!(models.resolve(Some(&id("visa")), None, ""), Err(Failure::NoHead { .. })));
        assert!(!models.answers());
    }

    #[test]
    fn a_candidate_without_an_active_head_answers_its_share_alone() {
        let models = Models::new(id("default"), None);
        let roles = |weight_percent| {
            rolled_out(Roles { candidate: Some(head("candidate")), weight_percent, ..Roles::default() })
        };
        models.publish(roles(0));
        assert!(matches!(models.resolve(Some(&id("visa")), None, ""), Err(Failure::NoHead { .. })));
        models.publish(roles(100));
        assert_eq!(digests(&models, Some("visa")), ("candidate".to_owned(), None));
    }

    #[test]
    fn the_only_model_is_the_default_where_none_has_its_name() {
        let models = Models::new(id("default"), None);
        let roles = || Roles { active: Some(head("active")), ..Roles::default() };
        models.publish(rolled_out(roles()));
        assert_eq!(models.resolve(None, None, "").unwrap().0, id("visa"));
        models.publish(BTreeMap::from([(id("visa"), roles()), (id("mvtec"), roles())]));
        let Err(Failure::Invalid(told)) = models.resolve(None, None, "") else {
            panic!("waiting would not help: it must be a complaint about the field")
        };
        assert_eq!(told[0].field, "options.model");
        let named = ["models/default", "models/visa", "models/mvtec"];
        assert!(named.iter().all(|name| told[0].description.contains(name)), "{}", told[0].description);
        models.publish(BTreeMap::from([(id("visa"), roles()), (id("default"), roles())]));
        let names: Vec<_> = models.list().into_iter().map(|served| served.name).collect();
        assert_eq!(names, [id("default"), id("visa")], "the default comes first");
    }

    #[test]
    fn a_pinned_revision_answers_alone_while_it_is_trusted() {
        let models = Models::new(id("default"), None);
        let candidate = head("candidate");
        models.publish(rolled_out(Roles {
            active: Some(head("active")),
            candidate: Some(Arc::clone(&candidate)),
            paired: Some(Arc::new(Paired::new("active", "candidate"))),
            ..Roles::default()
        }));
        let pinned = || models.resolve(Some(&id("visa")), Some("candidate"), "key");
        let (_, route) = pinned().unwrap();
        assert!(route.revision.digest() == "candidate" && route.other.is_none() && route.shadow().is_none());
        let (_, unpinned) = models.resolve(Some(&id("visa")), None, "key").unwrap();
        assert!(unpinned.shadow().is_some());
        break_down(&candidate);
        assert!(matches!(pinned(), Err(Failure::NotFound { resource: Resource::Revision, .. })));
        assert!(unpinned.shadow().is_none(), "a head that broke down scores nothing more");
    }
}
