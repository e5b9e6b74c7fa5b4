//! Small pieces that the spec's schema is made of: defaults, references, patterns, and what is undone in the schema
//! that the derive writes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Pattern of a URI that data sets and backbones may have.
pub(super) const READABLE_URI: &str = r"^(s3|gs|az|pvc|https|http|file)://[^\s]+$";

/// Pattern of a URI that artifacts may have: a web server cannot be written to.
pub(super) const WRITABLE_URI: &str = r"^(s3|gs|az|pvc|file)://[^\s]+$";

/// Pattern of a bare sha256.
pub(super) const SHA256: &str = "^[0-9a-f]{64}$";

/// Pattern of a digest.
pub(super) const DIGEST: &str = "^sha256:[0-9a-f]{64}$";

/// An object of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct LocalReference {
    /// Name of the object, in the namespace of the InCTRLModel.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A whole number as a field's default.
pub(super) const fn int<const N: i64>() -> i64 {
    N
}

/// A switch as a field's default.
pub(super) const fn switch<const ON: bool>() -> bool {
    ON
}

/// Drops what the derive says more than the API server should check: an absent field is left out, never `null`, and
/// integers are `int64`.
pub(super) fn tighten(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            // `nullable` is a keyword only where it is a boolean; a property may be called so.
            if fields.get("nullable").is_some_and(Value::is_boolean) {
                fields.remove("nullable");
            }
            for field in fields.values_mut() {
                tighten(field);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tighten),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
