//! A spec that cannot be acted on: it is said, once, and what is served goes on being served.

use inctrl_telemetry::Chain;
use jiff::Timestamp;

use super::{Action, Desired, Event, EventReason, Plan};
use crate::controller::observation::Observation;
use crate::controller::validate::InvalidSpec;
use crate::crd::conditions::{self, ConditionStatus, ConditionType, Verdict};

const REASON: &str = "InvalidSpec";

pub(super) fn plan(seen: &Observation, problem: &InvalidSpec, now: Timestamp) -> Plan {
    let message = Chain(problem).to_string();
    let mut status = seen.status.clone();
    status.observed_generation = Some(seen.generation);
    status.phase = Some("Invalid".to_owned());
    let said = conditions::find(&status.conditions, ConditionType::Degraded)
        .is_some_and(|condition| condition.reason == REASON && condition.message == message);
    let generation = Some(seen.generation);
    for type_ in ConditionType::ALL {
        let verdict = match type_ {
            ConditionType::Degraded => {
                Verdict { status: ConditionStatus::True, reason: REASON, message: message.clone() }
            }
            ConditionType::Progressing => {
                Verdict { status: ConditionStatus::False, reason: REASON, message: String::new() }
            }
            // What is known of the rest stays as it was.
            _ if conditions::find(&status.conditions, type_).is_some() => continue,
            _ => Verdict { status: ConditionStatus::Unknown, reason: "Pending", message: String::new() },
        };
        conditions::set(&mut status.conditions, type_, verdict, generation, now);
    }
    let events =
        if said { Vec::new() } else { vec![Event { reason: EventReason::InvalidSpec, note: message }] };
    let desired = Desired::of(&status, seen.servers.as_deref()).unwrap_or_default();
    let untold = |desired: &Desired| {
        let servers = seen.servers.iter().flatten();
        let mut told = servers.filter_map(|server| Some((&server.name, server.report.as_ref()?)));
        told.any(|(name, report)| !desired.clone().for_server(name, report).is_known_to(report))
    };
    let actions = if untold(&desired) { vec![Action::Push(desired)] } else { Vec::new() };
    Plan { status, actions, events, look_again: None }
}
