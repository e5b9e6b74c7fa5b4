//! A command to the server's own words. Every field is checked here, once, and all that is wrong is told at once.

use std::collections::BTreeSet;

use inctrl_proto::v1;
use inctrl_storage::{Digest, Uri};

use crate::failure::Failure;
use crate::grpc::convert::{Checks, model_name};
use crate::ids::ResourceId;
use crate::rollout::{Desired, DesiredModel, Given, HeadRef, Parts};

/// Most models of one command.
const MOST_MODELS: usize = 256;
/// Most bytes of each part that comes along with a head, as the API says; the rest is fetched.
const MOST_PART_BYTES: usize = 2 << 20;

/// What a command asks for, and the parts of heads that it brings.
pub(super) fn command(request: v1::ApplyRolloutRequest) -> Result<(Desired, Given), Failure> {
    let v1::ApplyRolloutRequest { epoch, generation, models } = request;
    let mut checks = Checks::default();
    for (field, number) in [("epoch", epoch), ("generation", generation)] {
        if number < 0 {
            checks.refuse(field, format!("is {number}, it must not be negative"));
        }
    }
    if MOST_MODELS < models.len() {
        checks.refuse("models", format!("there are {}, send at most {MOST_MODELS}", models.len()));
    }
    let (mut given, mut names) = (Given::new(), BTreeSet::new());
    let mut desired = Vec::with_capacity(models.len().min(MOST_MODELS));
    for (index, model) in models.into_iter().take(MOST_MODELS).enumerate() {
        let field = format!("models[{index}]");
        let Some(model) = one_model(&mut checks, &mut given, &field, model) else { continue };
        if !names.insert(model.name.clone()) {
            checks.refuse(format!("{field}.model"), format!("models/{} is there twice", model.name));
        }
        desired.push(model);
    }
    checks.done()?;
    Ok((Desired { epoch, generation, models: desired }, given))
}

fn one_model(
    checks: &mut Checks,
    given: &mut Given,
    field: &str,
    model: v1::ModelRollout,
) -> Option<DesiredModel> {
    let v1::ModelRollout { model, active, candidate, candidate_weight_percent, shadow, standby } = model;
    let name: Option<ResourceId> = checks.ok(&format!("{field}.model"), model_name(&model));
    let weight = u8::try_from(candidate_weight_percent).ok().filter(|weight| *weight <= 100);
    if weight.is_none() {
        let said = format!("is {candidate_weight_percent}, it must be between 0 and 100");
        checks.refuse(format!("{field}.candidate_weight_percent"), said);
    }
    let mut head = |role: &str, head: Option<v1::Head>| {
        head.and_then(|head| one_head(checks, given, &format!("{field}.{role}"), head))
    };
    let (active, candidate, standby) =
        (head("active", active), head("candidate", candidate), head("standby", standby));
    Some(DesiredModel { name: name?, active, candidate, standby, weight_percent: weight?, shadow })
}

fn one_head(checks: &mut Checks, given: &mut Given, field: &str, head: v1::Head) -> Option<HeadRef> {
    let v1::Head { revision, digest, uri, manifest, weights, self_test } = head;
    let digest = digest.parse::<Digest>().map_err(|error| error.to_string());
    let digest = checks.ok(&format!("{field}.digest"), digest);
    let uri = if uri.is_empty() { None } else { Some(uri.parse::<Uri>().map_err(|error| error.to_string())) };
    let uri = match uri {
        None => Some(None),
        Some(parsed) => checks.ok(&format!("{field}.uri"), parsed).map(Some),
    };
    for (part, bytes) in [("manifest", &manifest), ("weights", &weights), ("self_test", &self_test)] {
        if MOST_PART_BYTES < bytes.len() {
            let said = format!(
                "has {} bytes, at most {MOST_PART_BYTES} come along; leave it to the URI",
                bytes.len()
            );
            checks.refuse(format!("{field}.{part}"), said);
        }
    }
    let head = HeadRef { revision, digest: digest?, uri: uri? };
    let parts = Parts { manifest, weights, self_test };
    given.entry(head.digest).or_default().add(parts);
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> v1::Head {
        v1::Head {
            digest: Digest::of(text).to_string(),
            uri: "pvc://models/u/k".to_owned(),
            ..v1::Head::default()
        }
    }

    #[test]
    fn everything_wrong_with_a_command_is_told_at_once() {
        let bad = v1::ModelRollout {
            model: "visa".to_owned(),
            active: Some(v1::Head { digest: "sha256:a".to_owned(), uri: "nowhere".to_owned(), ..head("a") }),
            candidate: Some(v1::Head { weights: vec![0; MOST_PART_BYTES + 1].into(), ..head("b") }),
            candidate_weight_percent: 101,
            ..v1::ModelRollout::default()
        };
        let twice = v1::ModelRollout { model: "models/mvtec".to_owned(), ..v1::ModelRollout::default() };
        let models = vec![bad, twice.clone(), twice];
        let Failure::Invalid(told) =
            command(v1::ApplyRolloutRequest { epoch: -1, generation: 0, models }).unwrap_err()
        else {
            panic!("it must be a complaint about fields")
        };
        let fields: Vec<_> = told.iter().map(|violation| violation.field.as_str()).collect();
        let expected = [
            "epoch",
            "models[0].model",
            "models[0].candidate_weight_percent",
            "models[0].active.digest",
            "models[0].active.uri",
            "models[0].candidate.weights",
            "models[2].model",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn every_part_may_have_the_two_mebibytes_that_the_api_promises() {
        let part = |bytes| bytes::Bytes::from(vec![0; bytes]);
        let told = |bytes| {
            let active =
                v1::Head { manifest: part(bytes), weights: part(bytes), self_test: part(bytes), ..head("a") };
            let model = v1::ModelRollout {
                model: "models/visa".to_owned(),
                active: Some(active),
                ..v1::ModelRollout::default()
            };
            command(v1::ApplyRolloutRequest { epoch: 1, generation: 1, models: vec![model] })
        };
        told(2 * 1024 * 1024).unwrap();
        let Failure::Invalid(refused) = told(2 * 1024 * 1024 + 1).unwrap_err() else {
            panic!("it must be a complaint about fields")
        };
        assert_eq!(refused.len(), 3, "{refused:?}");
    }

    #[test]
    fn parts_that_come_along_are_known_by_their_heads_digest() {
        let active = v1::Head { weights: b"w".to_vec().into(), ..head("a") };
        let standby = v1::Head { manifest: b"m".to_vec().into(), ..head("a") };
        let model = v1::ModelRollout {
            model: "models/visa".to_owned(),
            active: Some(active),
            standby: Some(standby),
            ..v1::ModelRollout::default()
        };
        let request = v1::ApplyRolloutRequest { epoch: 1, generation: 1, models: vec![model] };
        let (desired, given) = command(request).unwrap();
        assert_eq!(desired.models[0].active.as_ref().unwrap().digest, Digest::of("a"));
        let parts = &given[&Digest::of("a")];
        assert_eq!((parts.manifest.as_ref(), parts.weights.as_ref()), (&b"m"[..], &b"w"[..]));
    }
}
