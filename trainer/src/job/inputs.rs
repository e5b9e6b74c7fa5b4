//! What a run needs, on this machine: fetched where it is not, and what it should be.

use std::path::{Path, PathBuf};

use inctrl_model::{BackboneInfo, Device, Head, HeadError};
use inctrl_storage::dataset::{self, Fingerprint};
use inctrl_storage::{
    DatasetError, Digest, FetchError, Listing, Store, StoreError, StoreOptions, Uri, fetch_file,
    fetch_listing, fetch_tree,
};

use super::spec::{ActiveSpec, DataSpec, JobSpec};
use super::stop::Stop;
use super::{Args, JobError, mode};
use crate::data::{DatasetSpec, detect};

/// What a run needs, on this machine.
#[derive(Debug)]
pub(super) struct Inputs {
    /// Folder of the backbone.
    pub(super) backbone: PathBuf,
    /// The auxiliary data set.
    pub(super) data: Data,
    /// The data set of the gate.
    pub(super) gate: Data,
    /// The head that serves now: its revision and its file.
    pub(super) active: Option<(Digest, PathBuf)>,
    /// Where that head should be and is not. A run is how one comes by a new head, so it goes on without.
    pub(super) lost_active: Option<Uri>,
}

/// A data set on this machine.
#[derive(Debug)]
pub(super) struct Data {
    /// How to read it.
    pub(super) spec: DatasetSpec,
    /// What it was when the run read it.
    pub(super) fingerprint: Fingerprint,
    store: Store,
}

/// Opens what a URI names; settings come from the environment and, over it, from a mounted Secret.
pub(super) fn open(uri: &Uri, secret: Option<&Path>, args: &Args) -> Result<Store, JobError> {
    let mut options = StoreOptions::anonymous().with_settings(std::env::vars());
    options.pvc_root.clone_from(&args.pvc_root);
    if let Some(folder) = secret {
        options = options
            .with_secret_folder(folder)
            .map_err(|source| JobError::Secret { folder: folder.to_owned(), source })?;
    }
    Ok(Store::open(uri, &options)?)
}

impl Inputs {
    /// Brings everything here.
    pub(super) fn fetch(spec: &JobSpec, args: &Args, stop: &Stop) -> Result<Self, JobError> {
        let work = args.work_folder();
        let expected = digest(&spec.backbone.sha256)?;
        let store = open(&spec.backbone.uri, None, args)?;
        let backbone = stop.run(backbone(&store, expected, &work))?;
        let data = stop.run(data(&spec.dataset, args, &work))?;
        let gate = stop.run(self::data(&spec.gate.dataset, args, &work))?;
        let (mut active, mut lost_active) = (None, None);
        if let Some(known) = &spec.gate.active {
            match stop.run(head(known, spec, args, &work))? {
                Some(file) => active = Some((known.digest, file)),
                None => lost_active = Some(known.uri.clone()),
            }
        }
        Ok(Self { backbone, data, gate, active, lost_active })
    }

    /// Leaves the active head aside where it goes with another backbone than the run's: no score of it means anything here.
    pub(super) fn keep_comparable(&mut self, backbone: &BackboneInfo) -> Result<(), JobError> {
        let Some((revision, file)) = &self.active else { return Ok(()) };
        match Head::load(file, Device::Cpu)?.check_backbone(backbone) {
            Err(error @ HeadError::OtherBackbone { .. }) => {
                tracing::warn!(active = %revision, %error, "the active head is not judged beside the new one");
                self.active = None;
                Ok(())
            }
            checked => Ok(checked?),
        }
    }

    /// Fails where a data set is no longer what the run read: what it learned is of neither.
    pub(super) fn check_unchanged(&self, spec: &JobSpec, stop: &Stop) -> Result<(), JobError> {
        for (data, of) in [(&self.data, &spec.dataset), (&self.gate, &spec.gate.dataset)] {
            let now = stop.run(fingerprint(&data.store, of))?;
            compare(data.store.uri(), data.fingerprint.fingerprint, now.fingerprint)?;
        }
        Ok(())
    }
}

/// The backbone's folder: where it lies, once its content is what it should be, or a copy below `work`.
async fn backbone(store: &Store, expected: Digest, work: &Path) -> Result<PathBuf, JobError> {
    let uri = || store.uri().clone();
    if let Some(folder) = store.local_path() {
        return match dataset::verify_pinned(store, expected).await {
            Ok(_) => Ok(folder.to_owned()),
            Err(DatasetError::Empty { .. }) => Err(JobError::NoBackbone { uri: uri() }),
            Err(DatasetError::OtherContent { actual: found, .. }) => {
                Err(JobError::OtherBackbone { uri: uri(), expected, found })
            }
            Err(error) => Err(error.into()),
        };
    }
    let to = work.join(format!("backbone-{}", expected.short()));
    match fetch_tree(store, expected, &to).await {
        Ok(_) => Ok(to),
        Err(FetchError::List { source: DatasetError::Empty { .. }, .. }) => {
            Err(JobError::NoBackbone { uri: uri() })
        }
        Err(FetchError::OtherDigest { expected, actual: found, .. }) => {
            Err(JobError::OtherBackbone { uri: uri(), expected, found })
        }
        Err(error) => Err(error.into()),
    }
}

/// A data set where it lies, or a copy below `work` that is named by its fingerprint: never a mixture of two.
async fn data(spec: &DataSpec, args: &Args, work: &Path) -> Result<Data, JobError> {
    let store = open(&spec.uri, spec.secret_folder.as_deref(), args)?;
    let found = fingerprint(&store, spec).await?;
    if let Some(expected) = spec.fingerprint {
        compare(&spec.uri, expected, found.fingerprint)?;
    }
    let folder = if let Some(folder) = store.local_path() {
        folder.to_owned()
    } else {
        let to = work.join(format!("data-{}", found.fingerprint.short()));
        let listing = Listing::of(&store).await?;
        fetch_listing(&store, &listing, &to).await?;
        to
    };
    if !folder.is_dir() {
        return Err(JobError::NoFolder { uri: spec.uri.clone() });
    }
    let format = detect(&folder)?;
    tracing::info!(data = %spec.uri, ?format, objects = found.objects, "data set is here");
    Ok(Data { spec: DatasetSpec::new(format, folder), fingerprint: found, store })
}

/// What a data set is now; where it is pinned, its bytes are held against the pin.
async fn fingerprint(store: &Store, spec: &DataSpec) -> Result<Fingerprint, JobError> {
    match &spec.sha256 {
        Some(pinned) => Ok(dataset::verify_pinned(store, digest(pinned)?).await?),
        None => Ok(dataset::resolve(store, None, mode(spec.fingerprint_mode)).await?),
    }
}

fn compare(uri: &Uri, expected: Digest, found: Digest) -> Result<(), JobError> {
    if expected == found {
        return Ok(());
    }
    Err(JobError::DataChanged { uri: uri.clone(), expected, found })
}

/// The file of the head that serves now, where its artifact is still there.
async fn head(
    active: &ActiveSpec,
    spec: &JobSpec,
    args: &Args,
    work: &Path,
) -> Result<Option<PathBuf>, JobError> {
    let store = open(&active.uri, spec.output.secret_folder.as_deref(), args)?;
    let Some(manifest) = inctrl_storage::read_manifest(&store, None).await? else { return Ok(None) };
    let Ok(part) = manifest.head() else { return Ok(None) };
    let to = work.join("active.safetensors");
    match fetch_file(&store, &part.path, Some(active.digest), &to).await {
        Err(FetchError::Store { source: StoreError::NotFound { .. }, .. }) => Ok(None),
        fetched => {
            fetched?;
            Ok(Some(to))
        }
    }
}

fn digest(hex: &str) -> Result<Digest, JobError> {
    Digest::from_hex(hex).map_err(|source| JobError::Digest { source })
}
