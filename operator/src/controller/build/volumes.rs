//! What a training pod sees of Secrets and volume claims: each once, wherever the spec names it.

use std::collections::{BTreeMap, BTreeSet};

use inctrl_storage::Scheme;
use inctrl_storage::options::DEFAULT_PVC_ROOT;
use serde_json::{Value, json};

use crate::controller::validate::ValidModel;
use crate::crd::InCTRLModelSpec;

/// Where Secrets are mounted, each under its name.
pub const SECRETS: &str = "/etc/inctrl/secrets";

/// Where a Secret is mounted.
pub fn secret_folder(name: &str) -> String {
    format!("{SECRETS}/{name}")
}

/// Names of the Secrets that a spec names, each once.
pub fn secrets(spec: &InCTRLModelSpec) -> BTreeSet<&str> {
    let secrets = [
        &spec.training.dataset.secret_ref,
        &spec.gate.dataset.secret_ref,
        &spec.artifacts.secret_ref,
        &spec.artifacts.signing_key_ref,
    ];
    secrets.into_iter().flatten().map(|secret| secret.name.as_str()).collect()
}

/// Volumes of a pod and where its container mounts them.
pub struct Volumes {
    /// `spec.volumes`.
    pub volumes: Vec<Value>,
    /// `volumeMounts`.
    pub mounts: Vec<Value>,
}

impl Volumes {
    fn add(&mut self, name: &str, source: Value, path: &str, read_only: bool) {
        let mut volume = json!({ "name": name });
        if let (Some(volume), Value::Object(source)) = (volume.as_object_mut(), source) {
            volume.extend(source);
        }
        self.volumes.push(volume);
        self.mounts.push(json!({ "name": name, "mountPath": path, "readOnly": read_only }));
    }
}

/// Everything that the spec names, a scratch folder, and `job.yaml` out of the pod's own annotation: a Job is one object, and
/// cannot be there without what it is told.
pub fn of(model: &ValidModel, annotation: &str, job_folder: &str) -> Volumes {
    let mut all = Volumes { volumes: Vec::new(), mounts: Vec::new() };
    let field = format!("metadata.annotations['{annotation}']");
    let items = json!([{ "path": "job.yaml", "fieldRef": { "fieldPath": field } }]);
    all.add("job", json!({ "downwardAPI": { "items": items } }), job_folder, true);
    all.add("scratch", json!({ "emptyDir": {} }), "/tmp", false);

    for (place, name) in secrets(&model.spec).into_iter().enumerate() {
        let source = json!({ "secret": { "secretName": name } });
        all.add(&format!("secret-{place}"), source, &secret_folder(name), true);
    }

    // Read only, but for the one that artifacts are written to.
    let mut claims: BTreeMap<&str, bool> = BTreeMap::new();
    for (uri, read_only) in
        [(&model.training, true), (&model.gate, true), (&model.backbone, true), (&model.artifacts, false)]
    {
        if uri.scheme() == Scheme::Pvc {
            let known = claims.entry(uri.authority()).or_insert(true);
            *known &= read_only;
        }
    }
    for (place, (name, read_only)) in claims.into_iter().enumerate() {
        let source = json!({ "persistentVolumeClaim": { "claimName": name, "readOnly": read_only } });
        all.add(&format!("claim-{place}"), source, &format!("{DEFAULT_PVC_ROOT}/{name}"), read_only);
    }
    all
}
