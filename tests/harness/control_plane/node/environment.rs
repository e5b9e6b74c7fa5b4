//! A container's environment: what it says, what it refers to, what it mentions.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod};
use kube::ResourceExt;

use super::files::{self, Kind, Waiting};
use super::{Image, Shared};

/// Names and values, in order; a later one of a name wins.
pub(super) async fn environment(
    node: &Shared,
    pod: &Pod,
    container: &Container,
    address: &str,
    image: &Image,
) -> Result<BTreeMap<String, String>, Waiting> {
    let namespace = pod.namespace().unwrap_or_default();
    let mut all: BTreeMap<String, String> = image.environment.iter().cloned().collect();
    all.insert("HOSTNAME".to_owned(), pod.name_any());
    all.insert("KUBERNETES_SERVICE_HOST".to_owned(), node.server.host().unwrap_or_default().to_owned());
    all.insert("KUBERNETES_SERVICE_PORT".to_owned(), node.server.port_u16().unwrap_or(443).to_string());
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let config_map = from.config_map_ref.as_ref().map(|it| (Kind::ConfigMap, &it.name, it.optional));
        let secret = from.secret_ref.as_ref().map(|it| (Kind::Secret, &it.name, it.optional));
        for (kind, name, is_optional) in config_map.into_iter().chain(secret) {
            let data = files::needed(node, &namespace, kind, name, is_optional).await?;
            all.extend(data.into_iter().map(|(key, value)| (format!("{prefix}{key}"), text(&value))));
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) => Some(expand(value, &all)),
            (None, Some(source)) => referred(node, pod, address, &namespace, source).await?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            all.insert(variable.name.clone(), value);
        }
    }
    Ok(all)
}

/// What a `valueFrom` refers to; `None` where it is optional and missing.
async fn referred(
    node: &Shared,
    pod: &Pod,
    address: &str,
    namespace: &str,
    source: &EnvVarSource,
) -> Result<Option<String>, Waiting> {
    if let Some(field) = &source.field_ref {
        return files::field(node, pod, address, &field.field_path).map(Some);
    }
    let config_map = source.config_map_key_ref.as_ref();
    let config_map = config_map.map(|it| (Kind::ConfigMap, &it.name, &it.key, it.optional));
    let secret = source.secret_key_ref.as_ref().map(|it| (Kind::Secret, &it.name, &it.key, it.optional));
    let Some((kind, name, key, is_optional)) = config_map.or(secret) else {
        return Err(Waiting::config("a valueFrom that this node does not know"));
    };
    let mut data = files::needed(node, namespace, kind, name, is_optional).await?;
    match data.remove(key) {
        Some(value) => Ok(Some(text(&value))),
        None if is_optional == Some(true) => Ok(None),
        None => Err(Waiting::config(format!("couldn't find key {key} in {kind:?} {namespace}/{name}"))),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Puts values in the place of `$(NAME)`; `$$` stands for `$`, and what names nothing stays.
pub(super) fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            expanded.push('$');
            rest = escaped;
            continue;
        }
        let named = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        let known = named.and_then(|(name, rest)| Some((environment.get(name)?.as_str(), rest)));
        let (value, after) = known.unwrap_or(("$", after));
        expanded.push_str(value);
        rest = after;
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_parentheses_become_their_values() {
        let environment = BTreeMap::from([("POD".to_owned(), "a-1".to_owned())]);
        for (text, expected) in [
            ("--name=$(POD):1", "--name=a-1:1"),
            ("$(NONE) $$(POD) $POD", "$(NONE) $(POD) $POD"),
            ("$(", "$("),
        ] {
            assert_eq!(expand(text, &environment), expected);
        }
    }
}
