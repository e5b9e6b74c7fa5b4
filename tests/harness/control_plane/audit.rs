//! What the API server was asked, by whom, and what it answered: its audit log.

use std::path::Path;

use serde_json::{Value, json};

/// The policy's file, and the log's.
pub(super) const POLICY: &str = "audit-policy.json";
pub(super) const LOG: &str = "audit.log";

/// Who, what and the answer of every call, once it is over; no bodies.
pub(super) fn write_policy(directory: &Path) -> std::io::Result<()> {
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [{ "level": "Metadata" }],
    });
    std::fs::write(directory.join(POLICY), policy.to_string())
}

/// A call that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, …
    pub verb: String,
    /// Such as `jobs.batch` or `inctrlmodels.inctrl.dev/status`; the path where it was no resource.
    pub resource: String,
    /// Where.
    pub namespace: String,
    /// Of which object, where one was named.
    pub name: String,
    /// Status of the answer.
    pub code: u64,
}

/// The calls of a user that are over, oldest first.
pub(super) fn calls(directory: &Path, user: &str) -> std::io::Result<Vec<Call>> {
    let log = std::fs::read_to_string(directory.join(LOG))?;
    // The last line may be half written.
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(entries.filter(|entry| entry["user"]["username"] == user).map(|entry| call(&entry)).collect())
}

fn call(entry: &Value) -> Call {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &entry["objectRef"];
    let mut resource = text(&object["resource"]);
    for (sign, part) in [('.', text(&object["apiGroup"])), ('/', text(&object["subresource"]))] {
        if !part.is_empty() {
            resource.push(sign);
            resource.push_str(&part);
        }
    }
    if resource.is_empty() {
        resource = text(&entry["requestURI"]);
    }
    Call {
        verb: text(&entry["verb"]),
        resource,
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        code: entry["responseStatus"]["code"].as_u64().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_from_its_entry_and_a_half_written_one_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let entry = json!({
            "verb": "patch", "user": { "username": "a" }, "requestURI": "/x", "responseStatus": { "code": 403 },
            "objectRef": { "resource": "inctrlmodels", "apiGroup": "inctrl.dev", "subresource": "status",
                           "namespace": "n", "name": "m" },
        });
        let path = json!({ "verb": "get", "user": { "username": "a" }, "requestURI": "/readyz" });
        let other = json!({ "verb": "get", "user": { "username": "b" } });
        let log = format!("{entry}\n{other}\n{path}\n{{\"verb\": \"g");
        std::fs::write(directory.path().join(LOG), log).unwrap();
        let calls = calls(directory.path(), "a").unwrap();
        let resources: Vec<_> = calls.iter().map(|call| call.resource.as_str()).collect();
        assert_eq!(resources, ["inctrlmodels.inctrl.dev/status", "/readyz"]);
        assert_eq!((calls[0].verb.as_str(), calls[0].name.as_str(), calls[0].code), ("patch", "m", 403));
    }
}
