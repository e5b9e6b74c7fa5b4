//! Keys of a configuration file that mean nothing, each with the nearest key that does.

use std::fmt;

use serde_yaml::Value;

/// Below this likeness (1 is equal) a known key is no help.
const ALIKE: f64 = 0.7;

/// A key that means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKey {
    /// Its path, such as `limits.max_shot` or `data[0].formt`.
    pub path: String,
    /// Path of the nearest known key, where one is like it.
    pub nearest: Option<String>,
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown key {:?}", self.path)?;
        match &self.nearest {
            Some(nearest) => write!(f, " (did you mean {nearest:?}?)"),
            None => Ok(()),
        }
    }
}

/// Every key of `document` that `known`, a document with all keys (lists hold one item), has not.
pub(super) fn unknown_keys(document: &Value, known: &Value) -> Vec<UnknownKey> {
    let mut found = Vec::new();
    collect(document, known, "", &mut found);
    found
}

fn collect(document: &Value, known: &Value, prefix: &str, found: &mut Vec<UnknownKey>) {
    if let (Value::Sequence(items), Value::Sequence(allowed)) = (document, known)
        && let Some(known) = allowed.first()
    {
        // Items of a list have the same keys: the first one of `known` stands for all.
        for (position, item) in items.iter().enumerate() {
            let list = prefix.trim_end_matches('.');
            collect(item, known, &format!("{list}[{position}]."), found);
        }
    }
    let (Value::Mapping(entries), Value::Mapping(allowed)) = (document, known) else { return };
    for (key, value) in entries {
        let name = match key {
            Value::String(name) => name.clone(),
            other => format!("{other:?}"),
        };
        if let Some(known) = allowed.get(key) {
            collect(value, known, &format!("{prefix}{name}."), found);
        } else {
            let names = allowed.keys().filter_map(Value::as_str);
            let nearest = nearest(&name, names).map(|nearest| format!("{prefix}{nearest}"));
            found.push(UnknownKey { path: format!("{prefix}{name}"), nearest });
        }
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let (likeness, known) = likeness.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (ALIKE < likeness).then_some(known)
}
