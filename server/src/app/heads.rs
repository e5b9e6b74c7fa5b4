//! The heads that a server starts with: of the command line, and of the last roll-out. Files are read and the address
//! of roll-outs is taken at the bind; heads are loaded once the scorer is there.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use inctrl_storage::{StoreOptions, VerifyingKey};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{AppError, listen};
use crate::config::RolloutConfig;
use crate::decode::CpuPool;
use crate::grpc::{AdminGrpc, Grpc};
use crate::ids::ResourceId;
use crate::revisions::{Models, Revision};
use crate::rollout::{Board, Disk, Loader, LoaderSpec, Rollout, RolloutSpec};
use crate::scorer::{Garbage, HeadInfo, HeadKey, Job, ScorerError};

/// The head of the command line; those of roll-outs come after it.
const CONFIGURED_HEAD: HeadKey = HeadKey(0);
const FIRST_ROLLED_OUT: HeadKey = HeadKey(1);

/// The head of the command line.
#[derive(Debug)]
pub(super) struct HeadFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// A rollout listener whose address is taken.
#[derive(Debug)]
pub(super) struct BoundRollout {
    listener: TcpListener,
    address: SocketAddr,
    grpc: AdminGrpc,
    disk: Disk,
    key: Option<VerifyingKey>,
    store: StoreOptions,
}

/// What of the server heads are loaded with.
pub(super) struct Beside<'a> {
    /// The model that requests without a name are for.
    pub(super) model_name: &'a ResourceId,
    pub(super) board: &'a Arc<Board>,
    pub(super) pool: &'a Arc<CpuPool>,
    pub(super) garbage: &'a Arc<Garbage>,
    pub(super) jobs: &'a mpsc::Sender<Job>,
    pub(super) backbone_digest: &'a str,
}

/// Heads that are loaded, and the way to others.
pub(super) struct Heads {
    pub(super) models: Arc<Models>,
    pub(super) rollout: Option<Rollout>,
    pub(super) rollout_address: Option<SocketAddr>,
    /// Takes roll-outs, where they are taken.
    pub(super) commands: Option<JoinHandle<()>>,
}

impl HeadFile {
    pub(super) fn read(path: PathBuf) -> Result<Self, AppError> {
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Self { path, bytes }),
            Err(source) => Err(AppError::ReadHead { path, source }),
        }
    }

    async fn load(self, beside: &Beside<'_>) -> Result<Arc<Revision>, AppError> {
        let Self { path, bytes } = self;
        let loaded = load(beside.jobs, bytes).await.map_err(|source| AppError::Head { path, source })?;
        tracing::info!(model = %beside.model_name, revision = loaded.digest, kind = %loaded.kind, "head loaded");
        let (bell, garbage) = (Arc::clone(beside.board.bell()), Arc::clone(beside.garbage));
        Ok(Arc::new(Revision::new(CONFIGURED_HEAD, loaded, bell, garbage)))
    }
}

async fn load(jobs: &mpsc::Sender<Job>, bytes: Vec<u8>) -> Result<HeadInfo, ScorerError> {
    let (reply, answer) = oneshot::channel();
    let job = Job::LoadHead { key: CONFIGURED_HEAD, bytes: bytes.into(), reply };
    jobs.send(job).await.map_err(|_| ScorerError::Ended)?;
    answer.await.map_err(|_| ScorerError::Ended)?
}

impl Heads {
    /// Loads the head of the command line, comes back to the last roll-out, then takes commands until `stop`.
    pub(super) async fn start(
        head: Option<HeadFile>,
        rollout: Option<BoundRollout>,
        beside: Beside<'_>,
        stop: CancellationToken,
    ) -> Result<Self, AppError> {
        let configured = match head {
            Some(file) => Some(file.load(&beside).await?),
            None => None,
        };
        let models = Arc::new(Models::new(beside.model_name.clone(), configured));
        let Some(bound) = rollout else {
            return Ok(Self { models, rollout: None, rollout_address: None, commands: None });
        };
        let rollout_address = Some(bound.address);
        let (rollout, commands) = bound.start(&models, &beside, stop).await?;
        Ok(Self { models, rollout: Some(rollout), rollout_address, commands: Some(commands) })
    }
}

impl BoundRollout {
    /// Takes the address; reads certificates, the key of signatures, credentials.
    pub(super) fn bind(config: &RolloutConfig, state: &Path, grpc: &Grpc) -> Result<Self, AppError> {
        let RolloutConfig { listen: wanted, address_file: _, access, verification_key, store_secret, store } =
            config;
        let address = *wanted;
        let (listener, address) =
            listen(address).map_err(|source| AppError::RolloutListen { address, source })?;
        let store = match store_secret {
            Some(folder) => store
                .clone()
                .with_secret_folder(folder)
                .map_err(|source| AppError::StoreSecret { path: folder.clone(), source })?,
            None => store.clone(),
        };
        Ok(Self {
            listener,
            address,
            grpc: AdminGrpc::new(grpc, access)?,
            disk: Disk::open(state)?,
            key: verification_key.as_ref().map(read_key).transpose()?,
            store,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Comes back to the last state, then takes commands until `stop`.
    async fn start(
        self,
        models: &Arc<Models>,
        beside: &Beside<'_>,
        stop: CancellationToken,
    ) -> Result<(Rollout, JoinHandle<()>), AppError> {
        let Self { listener, address, grpc, disk, key, store } = self;
        let Beside { model_name: _, board, pool, garbage, jobs, backbone_digest } = beside;
        let loader = Loader::new(LoaderSpec {
            jobs: jobs.downgrade(),
            pool: Arc::clone(pool),
            backbone_digest: (*backbone_digest).to_owned(),
            key,
            bell: Arc::clone(board.bell()),
            garbage: Arc::clone(garbage),
            first_key: FIRST_ROLLED_OUT,
        });
        let (board, models, pool) = (Arc::clone(board), Arc::clone(models), Arc::clone(pool));
        let rollout = Rollout::new(RolloutSpec { board, models, loader, disk, store, pool });
        rollout.restore().await;
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|source| AppError::RolloutListen { address, source })?;
        let serve = async move {
            if let Err(error) = grpc.serve(listener, stop).await {
                tracing::error!(error = %inctrl_telemetry::Chain(&error), "roll-outs are not taken any more");
            }
        };
        Ok((rollout, tokio::spawn(serve)))
    }
}

fn read_key(path: &PathBuf) -> Result<VerifyingKey, AppError> {
    let pem = std::fs::read(path).map_err(|source| AppError::ReadKey { path: path.clone(), source })?;
    VerifyingKey::from_pem(&pem).map_err(|source| AppError::Key { path: path.clone(), source })
}
