//! The outside of the cluster: what a data set is now, what a run has published, what is to be deleted. Each with a bound on
//! time; what cannot be reached is a trouble with a name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use inctrl_storage::manifest::{ActiveReport, GateReport, MANIFEST_NAME, MAX_MANIFEST_BYTES, Metric};
use inctrl_storage::{
    DatasetError, Digest, FingerprintMode, Listing, Manifest, PublishError, Store, StoreError, StoreOptions,
    Uri, VerifyingKey, publish, settings_of_secret,
};
use inctrl_telemetry::Chain;
use tokio::time::timeout;

use super::observation::{ArtifactView, DatasetView, GateView, Trouble};
use crate::crd::conditions::reason;
use crate::crd::{FingerprintKind, RevisionMetric};

/// Longest a listing or a reading may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Longest that reading every byte of a data set may take: a round has room for it, and a silent store is given up sooner.
const CONTENT_PATIENCE: Duration = Duration::from_mins(3);

/// Longest time in which one request to a store is tried again: that a store does not answer is to be said soon, and our own
/// queue tries again.
const RETRY: Duration = Duration::from_secs(3);

/// Most metrics of a head that the status keeps.
const MOST_METRICS: usize = 16;

/// Most objects below a model's folder when its artifacts are deleted.
const MOST_OBJECTS: usize = 10_000;

/// How stores are reached.
#[derive(Debug, Clone)]
pub struct Stores {
    /// Credentials and endpoints where a resource names no Secret.
    pub settings: BTreeMap<String, String>,
    /// Where volume claims are mounted.
    pub pvc_root: PathBuf,
}

/// The text values of a Secret.
pub type SecretValues = BTreeMap<String, String>;

fn trouble(reason: &'static str, message: impl Into<String>) -> Trouble {
    Trouble { reason, message: message.into() }
}

impl Stores {
    fn open(&self, uri: &Uri, secret: Option<&SecretValues>) -> Result<Store, Trouble> {
        // A Secret stands alone: the operator's own credentials must not reach where its author cannot, nor its files.
        let settings = match secret {
            None => self.settings.clone(),
            Some(secret) => settings_of_secret(uri, secret).map_err(|error| {
                trouble("SecretRefused", format!("the Secret of {uri}: {}", Chain(&error)))
            })?,
        };
        let mut options = StoreOptions::anonymous().with_settings(settings);
        options.pvc_root.clone_from(&self.pvc_root);
        options.retry_timeout = RETRY;
        Store::open(uri, &options).map_err(|error| of_store(&error))
    }

    /// What a data set is now.
    pub async fn dataset(
        &self,
        uri: &Uri,
        secret: Option<&SecretValues>,
        kind: FingerprintKind,
    ) -> Result<DatasetView, Trouble> {
        let mode = match kind {
            FingerprintKind::Manifest => FingerprintMode::Manifest,
            FingerprintKind::Content => FingerprintMode::Content,
        };
        let store = self.open(uri, secret)?;
        let listed = timeout(PATIENCE, Listing::of(&store)).await;
        let listing = listed.map_err(|_| slow("data set"))?.map_err(|error| of_dataset(&error))?;
        let found = timeout(CONTENT_PATIENCE, listing.fingerprint(mode)).await;
        let fingerprint = found.map_err(|_| too_large(&listing))?.map_err(|error| of_dataset(&error))?;
        Ok(DatasetView {
            fingerprint: fingerprint.fingerprint.to_string(),
            objects: i64::try_from(fingerprint.objects).ok(),
            bytes: i64::try_from(fingerprint.bytes).ok(),
        })
    }

    /// What a run has published, its manifest verified.
    pub async fn artifact(
        &self,
        folder: &Uri,
        secret: Option<&SecretValues>,
        key: Option<&VerifyingKey>,
    ) -> Result<ArtifactView, Trouble> {
        let store = self.open(folder, secret)?;
        let read =
            timeout(PATIENCE, publish::read_manifest(&store, key)).await.map_err(|_| slow("artifact"))?;
        let manifest = match read {
            Ok(Some(manifest)) => manifest,
            Ok(None) => {
                return Err(trouble(reason::ARTIFACT_MISSING, "the run left no manifest in its folder"));
            }
            Err(error) => return Err(of_publish(&error)),
        };
        Ok(view(&manifest, folder))
    }

    /// The parts of the artifact with this digest that servers get along with the desired state: manifest, head,
    /// self-test. Each is what the manifest says, and that is what the digest says.
    pub async fn parts(
        &self,
        folder: &Uri,
        digest: &str,
        secret: Option<&SecretValues>,
        most_bytes: u64,
    ) -> Result<HeadParts, Trouble> {
        let store = self.open(folder, secret)?;
        let read = async {
            let json =
                store.read(MANIFEST_NAME, MAX_MANIFEST_BYTES).await.map_err(|error| of_store(&error))?;
            let manifest = Manifest::from_json(&json, None)
                .map_err(|error| trouble(reason::DIGEST_MISMATCH, Chain(&error).to_string()))?;
            if manifest.revision.to_string() != digest {
                let message = format!("{folder} holds another head than {digest}");
                return Err(trouble(reason::DIGEST_MISMATCH, message));
            }
            let test = manifest.record.self_test.as_ref().map(|test| test.part.as_str());
            let parts = HeadParts {
                weights: small_part(&store, &manifest, Some(&manifest.record.head.part), most_bytes).await?,
                self_test: small_part(&store, &manifest, test, most_bytes).await?,
                manifest: json,
            };
            Ok(parts)
        };
        timeout(PATIENCE, read).await.map_err(|_| slow("artifact"))?
    }

    /// Deletes every artifact below a model's folder: what manifests list, then the manifests. Says how many there were.
    pub async fn delete_artifacts(
        &self,
        folder: &Uri,
        secret: Option<&SecretValues>,
    ) -> Result<usize, Trouble> {
        let delete = async {
            let store = self.open(folder, secret)?;
            let entries = store.list(MOST_OBJECTS).await.map_err(|error| of_store(&error))?;
            let suffix = format!("/{MANIFEST_NAME}");
            let runs: Vec<&str> =
                entries.iter().filter_map(|entry| entry.path.strip_suffix(&suffix)).collect();
            let mut deleted = 0;
            for run in runs {
                let run = store.below(run).map_err(|error| of_store(&error))?;
                match publish::read_manifest(&run, None).await {
                    Ok(Some(manifest)) => {
                        publish::remove(&run, &manifest).await.map_err(|error| of_store(&error))?;
                        deleted += 1;
                    }
                    Ok(None) => {}
                    Err(error) => return Err(of_publish(&error)),
                }
            }
            Ok(deleted)
        };
        timeout(PATIENCE, delete).await.map_err(|_| slow("artifact folder"))?
    }
}

/// A part that is not too large to travel along; empty where it is, or where there is none.
async fn small_part(
    store: &Store,
    manifest: &Manifest,
    name: Option<&str>,
    most_bytes: u64,
) -> Result<bytes::Bytes, Trouble> {
    let part = name.and_then(|name| manifest.part(name).ok()).filter(|part| part.bytes <= most_bytes);
    let Some(part) = part else { return Ok(bytes::Bytes::new()) };
    let bytes = store.read(&part.path, most_bytes).await.map_err(|error| of_store(&error))?;
    if Digest::of(&bytes) == part.digest {
        Ok(bytes)
    } else {
        Err(trouble(reason::DIGEST_MISMATCH, format!("{} is not what its manifest says", part.path)))
    }
}

/// Small parts of an artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeadParts {
    /// `manifest.json`, byte for byte.
    pub manifest: bytes::Bytes,
    /// The head's file; empty where it is too large to travel along.
    pub weights: bytes::Bytes,
    /// The self-test's inputs; empty where there are none or they are too large.
    pub self_test: bytes::Bytes,
}

fn slow(what: &str) -> Trouble {
    trouble("Unreachable", format!("the store of the {what} did not answer within {} s", PATIENCE.as_secs()))
}

fn too_large(listing: &Listing) -> Trouble {
    let (objects, seconds) = (listing.entries().len(), CONTENT_PATIENCE.as_secs());
    let message = format!(
        "not all of the {objects} objects can be read within {seconds} s; set fingerprint: Manifest, or pin sha256"
    );
    trouble("ContentTooLarge", message)
}

/// What went wrong, in words that are the same each time: the client's own tell times, tries and names of requests, and
/// go to the log.
fn of_store(error: &StoreError) -> Trouble {
    let reason = match error {
        StoreError::NotFound { .. } => reason::NOT_FOUND,
        StoreError::AccessDenied { .. } => "AccessDenied",
        _ => "Unreachable",
    };
    let message = match error {
        // Nothing was asked of the store yet: the client says what is wrong with its settings.
        StoreError::Configure { .. } => Chain(error).to_string(),
        StoreError::CutShort { uri, .. } => {
            format!("{uri} ended early; it changed while it was read, or the connection was cut")
        }
        _ => error.to_string(),
    };
    tracing::warn!(reason, error = %Chain(error), "a store did not do what was asked");
    match error.http_status() {
        Some(status) => trouble(reason, format!("{message} (HTTP {status})")),
        None => trouble(reason, message),
    }
}

fn of_dataset(error: &DatasetError) -> Trouble {
    match error {
        DatasetError::List { source, .. } => of_store(source),
        // Which of many objects it is differs from look to look.
        DatasetError::Read { source, .. } => Trouble { message: error.to_string(), ..of_store(source) },
        DatasetError::Empty { .. } => trouble("Empty", Chain(error).to_string()),
        _ => trouble("ChecksumMismatch", Chain(error).to_string()),
    }
}

fn of_publish(error: &PublishError) -> Trouble {
    match error {
        PublishError::Store { source } => of_store(source),
        _ => trouble(reason::DIGEST_MISMATCH, Chain(error).to_string()),
    }
}

fn view(manifest: &Manifest, folder: &Uri) -> ArtifactView {
    let record = &manifest.record;
    ArtifactView {
        digest: manifest.revision.to_string(),
        uri: folder.to_string(),
        run_key: record.run_key.clone(),
        spec_hash: record.spec_hash.map(|hash| hash.hex()),
        dataset_fingerprint: record.dataset.fingerprint.fingerprint.to_string(),
        backbone_sha256: record.backbone.sha256.map(|digest| digest.hex()),
        backbone_digest: record.backbone.digest.to_string(),
        created_at: record.created_at,
        gate: record.gate.as_ref().map(gate),
    }
}

fn gate(report: &GateReport) -> GateView {
    let GateReport { dataset, samples, candidate, active } = report;
    GateView {
        fingerprint: dataset.fingerprint.fingerprint.to_string(),
        samples: i64::try_from(*samples).unwrap_or(i64::MAX),
        candidate: metrics(candidate),
        active: active
            .as_ref()
            .map(|ActiveReport { revision, metrics: figures }| (revision.to_string(), metrics(figures))),
    }
}

/// Metrics that a gate can bound. Quality is rounded down to basis points and time up to milliseconds: never in favour.
fn metrics(figures: &[Metric]) -> Vec<RevisionMetric> {
    let of = |metric: &Metric| {
        let Metric { name, split, value } = metric;
        let latency = name == "latencyP99Millis";
        let name = split.as_ref().map_or_else(|| name.clone(), |split| format!("{name}/{split}"));
        RevisionMetric {
            name,
            // A hair's breadth, so that 0.85 written in binary is 8500.
            basis_points: (!latency).then(|| (value * 10_000.0 + 1e-6).floor() as i64),
            value: latency.then(|| (value - 1e-9).ceil() as i64),
        }
    };
    // Where there are too many, those of the whole data set are kept.
    let (whole, parts): (Vec<&Metric>, Vec<_>) = figures.iter().partition(|figure| figure.split.is_none());
    let mut metrics: Vec<_> = whole.into_iter().chain(parts).map(of).take(MOST_METRICS).collect();
    // The status keeps them by name.
    metrics.sort_by(|a, b| a.name.cmp(&b.name));
    metrics
}

/// Why a key cannot be used to check manifests.
pub fn verifying_key(secret: &SecretValues) -> Result<VerifyingKey, Trouble> {
    let pem = secret
        .get("key.pub")
        .ok_or_else(|| trouble("SignatureInvalid", "the Secret of the signing key has no key.pub"))?;
    VerifyingKey::from_pem(pem.as_bytes()).map_err(|error| trouble("SignatureInvalid", error.to_string()))
}

#[cfg(test)]
mod tests;
