//! Why a server could not start, or ended.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use inctrl_storage::SignatureError;
use inctrl_telemetry::AdminError;

use crate::grpc::GrpcError;
use crate::prompts::StoreError;
use crate::rollout::DiskError;
use crate::scorer::ScorerError;

/// Why a server could not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The head's file cannot be read.
    #[error("cannot read head {path:?}; give the head.safetensors of a training run with --head")]
    ReadHead {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The address cannot be had.
    #[error("cannot listen on {address}; choose another with --listen, or port 0 for any free one")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The admin endpoint cannot be had.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The state folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Certificates or tokens cannot be used.
    #[error(transparent)]
    Grpc(#[from] GrpcError),
    /// The threads for decoding cannot be had.
    #[error("cannot start the threads that decode images")]
    Pool(#[source] rayon::ThreadPoolBuildError),
    /// The scorer's thread cannot be had.
    #[error("cannot start the scorer's thread")]
    Thread(#[source] io::Error),
    /// The address of roll-outs cannot be had.
    #[error(
        "cannot take roll-outs on {address}; choose another with --rollout-listen, or port 0 for any free one"
    )]
    RolloutListen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The key of signatures cannot be read.
    #[error("cannot read the key {path:?} of rollout.verification_key")]
    ReadKey {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The key of signatures cannot be used.
    #[error("key {path:?} of rollout.verification_key cannot be used")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SignatureError,
    },
    /// The credentials of the artifact store cannot be read.
    #[error("cannot read the credentials in {path:?} (rollout.store_secret)")]
    StoreSecret {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The last rollout state cannot be kept.
    #[error(transparent)]
    Rollout(#[from] DiskError),
    /// Device or backbone cannot be used.
    #[error(transparent)]
    Scorer(Box<dyn Error + Send + Sync>),
    /// The head was read, but cannot be used with this backbone.
    #[error("head {path:?} cannot be served")]
    Head {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ScorerError,
    },
    /// A bound address cannot be written.
    #[error(
        "cannot write the address to {path:?}; choose a writable place with --address-file or --rollout-address-file"
    )]
    AddressFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be had.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// Serving ended without having been asked to.
    #[error("the data port closed unasked")]
    Ended(#[source] Option<Box<GrpcError>>),
}
