//! Brings the parts of a head together: those that came along, those on disk, the rest from its URI.

use bytes::Bytes;
use inctrl_storage::manifest::{MANIFEST_NAME, MAX_MANIFEST_BYTES};
use inctrl_storage::{FetchError, Manifest, Store, StoreError, StoreOptions, fetch_part};
use inctrl_telemetry::Chain;

use super::check::{Problem, Refusal};
use super::desired::{HeadRef, Parts};
use super::disk::{Disk, Part};

/// Largest head that is fetched; those of today's backbones have a few MiB.
const MOST_HEAD_BYTES: u64 = 256 << 20;
/// Largest self-test that is fetched: 32 images of 336 pixels a side.
const MOST_SELF_TEST_BYTES: u64 = 16 << 20;

/// What is missing of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    Fetch,
}

/// Why the parts did not come together.
#[derive(Debug)]
pub(super) enum Trouble {
    /// What came is not what was meant.
    Refused(Refusal),
    /// It may come later.
    Unreachable(String),
}

/// What is missing of a head; refuses one that cannot be completed.
pub(super) fn need(head: &HeadRef, parts: &Parts) -> Result<Need, Refusal> {
    let what = if parts.manifest.is_empty() {
        Some("manifest")
    } else if parts.weights.is_empty() {
        Some("file")
    } else if names_self_test(&parts.manifest)? && parts.self_test.is_empty() {
        Some("self-test")
    } else {
        None
    };
    match what {
        None => Ok(Need::Nothing),
        Some(_) if head.uri.is_some() => Ok(Need::Fetch),
        Some(what) => {
            let said = format!(
                "the head's {what} did not come along, is not known here, and no URI says where it is"
            );
            Err(Refusal::new(Problem::Unreachable, said))
        }
    }
}

/// Completes the parts of a head, by its URI where they are not at hand. What was fetched lies on disk then.
pub(super) async fn complete(
    head: &HeadRef,
    given: Parts,
    disk: &Disk,
    options: &StoreOptions,
) -> Result<Parts, Trouble> {
    let mut parts = given;
    if need(head, &parts)? == Need::Nothing {
        return Ok(parts);
    }
    let Some(uri) = &head.uri else { return Ok(parts) };
    let store = Store::open(uri, options).map_err(|error| Trouble::Unreachable(Chain(&error).to_string()))?;
    if parts.manifest.is_empty() {
        parts.manifest = store.read(MANIFEST_NAME, MAX_MANIFEST_BYTES).await?;
    }
    // Who signed it is asked when everything is here.
    let manifest = read(&parts.manifest)?;
    if manifest.revision != head.digest {
        let said = format!("the manifest at {uri} is of revision {}, not {}", manifest.revision, head.digest);
        return Err(Refusal::new(Problem::Manifest, said).into());
    }
    let source = Source { store, manifest: &manifest, disk, head };
    if parts.weights.is_empty() {
        parts.weights = source.fetch(&manifest.record.head.part, Part::Weights, MOST_HEAD_BYTES).await?;
    }
    if let Some(test) = &manifest.record.self_test
        && parts.self_test.is_empty()
    {
        parts.self_test = source.fetch(&test.part, Part::SelfTest, MOST_SELF_TEST_BYTES).await?;
    }
    Ok(parts)
}

/// Where the files of one head come from and go to.
struct Source<'a> {
    store: Store,
    manifest: &'a Manifest,
    disk: &'a Disk,
    head: &'a HeadRef,
}

impl Source<'_> {
    /// Fetches a part to its place on disk, its digest verified, and reads it.
    async fn fetch(&self, name: &str, part: Part, most: u64) -> Result<Bytes, Trouble> {
        let Self { store, manifest, disk, head } = self;
        let record = manifest.part(name).map_err(|error| Refusal::of_manifest(&error))?;
        if record.bytes > most {
            let said = format!("{name} has {} bytes, at most {most} are loaded", record.bytes);
            return Err(Refusal::new(Problem::Manifest, said).into());
        }
        let to = disk.part(head.digest, part);
        fetch_part(store, manifest, name, &to).await?;
        match tokio::fs::read(&to).await {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => Err(Trouble::Unreachable(format!("cannot read {}: {error}", to.display()))),
        }
    }
}

fn read(manifest: &[u8]) -> Result<Manifest, Refusal> {
    Manifest::from_json(manifest, None).map_err(|error| Refusal::of_manifest(&error))
}

fn names_self_test(manifest: &[u8]) -> Result<bool, Refusal> {
    read(manifest).map(|manifest| manifest.record.self_test.is_some())
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooLarge { .. } => {
                Self::Refused(Refusal::new(Problem::Manifest, Chain(&error).to_string()))
            }
            other => Self::Unreachable(Chain(&other).to_string()),
        }
    }
}

impl From<FetchError> for Trouble {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::OtherDigest { .. } => {
                Self::Refused(Refusal::new(Problem::DigestMismatch, Chain(&error).to_string()))
            }
            other => Self::Unreachable(Chain(&other).to_string()),
        }
    }
}
