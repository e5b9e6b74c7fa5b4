//! Where everything meets: addresses are taken, the backbone is loaded, calls are served, the server is drained.
//!
//! Third of three moves (args, config, app):
//!
//! ```text
//! App::bind    addresses, state folder, certificates, head file: what is wrong with them is told at once
//!   .start     answers from here on (with UNAVAILABLE until the backbone is loaded); returns when it is ready, or,
//!              without a head, waits for a roll-out
//!   .until_stopped    serves; SIGTERM: not ready, go on for a while, stop listening, finish, end
//! ```

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use inctrl_telemetry::{Admin, BuildInfo, Probes, Shutdown, process};
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::ByteBudget;
use crate::batch::{BatchMetrics, Item, Load, Policy, Queue, Worker};
use crate::config::{Batching, Config, Drain};
use crate::decode::CpuPool;
use crate::grpc::{Grpc, GrpcError, GrpcSpec};
use crate::health::{Health, Phase};
use crate::metrics::{Level, ServerMetrics, register_levels};
use crate::prompts::{FeatureCache, Prompts, PromptsSpec, Store};
use crate::revisions::Bell;
use crate::rollout::{Board, Shown};
use crate::scorer::{Garbage, Scorer, ScorerInfo, ScorerThread, ThreadSpec};
use crate::scoring::Engine;

mod error;
mod heads;
mod supervise;

pub use error::AppError;
use heads::{Beside, BoundRollout, HeadFile, Heads};

/// What answers that are on their way may take to leave, once no call is in work.
const FLUSH: Duration = Duration::from_secs(1);
/// What the scorer may take to end: one batch.
const SCORER_ENDS: Duration = Duration::from_secs(5);

/// A server whose addresses are taken; nothing is answered yet.
#[derive(Debug)]
pub struct App {
    config: Config,
    /// None where heads come by roll-out alone.
    head: Option<HeadFile>,
    listener: TcpListener,
    address: SocketAddr,
    admin: Admin,
    grpc: Grpc,
    rollout: Option<BoundRollout>,
    parts: Parts,
}

/// What the halves of the server share.
#[derive(Debug)]
struct Parts {
    engine: Arc<OnceLock<Engine>>,
    health: Arc<Health>,
    metrics: ServerMetrics,
    batch_metrics: BatchMetrics,
    load: Arc<Load>,
    queue: Queue,
    items: mpsc::Receiver<Item>,
    pool: Arc<CpuPool>,
    store: Arc<Store>,
    cache: FeatureCache,
    board: Arc<Board>,
}

/// A server that is ready for traffic.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    rollout_address: Option<SocketAddr>,
    drain: Drain,
    health: Arc<Health>,
    admin: Admin,
    serving: JoinHandle<Result<(), GrpcError>>,
    /// Takes roll-outs, where they are taken.
    commands: Option<JoinHandle<()>>,
    stop_listening: CancellationToken,
    abort: CancellationToken,
    calls: TaskTracker,
    stop_worker: CancellationToken,
    scorer: ScorerThread,
    /// Ends with this.
    _tasks: JoinSet<()>,
}

impl App {
    /// Takes addresses and the state folder, reads certificates, tokens and the head's file.
    pub fn bind(config: Config) -> Result<Self, AppError> {
        let head = config.head.clone().map(HeadFile::read).transpose()?;
        let (listener, address) =
            listen(config.listen).map_err(|source| AppError::Listen { address: config.listen, source })?;
        let admin = Admin::bind(config.admin_listen)?;
        let mut registry = Registry::default();
        let build = BuildInfo {
            program: "inctrl-server",
            version: env!("CARGO_PKG_VERSION"),
            revision: option_env!("INCTRL_REVISION").unwrap_or("unknown"),
        };
        build.register(&mut registry);
        process::register(&mut registry);
        let health = Arc::new(Health::new());
        let budget = ByteBudget::new(config.limits.max_inflight_bytes);
        let parts = Parts::new(&config, &mut registry, &health, &budget)?;
        let grpc = Grpc::new(GrpcSpec {
            engine: Arc::clone(&parts.engine),
            limits: config.limits,
            health: Arc::clone(&health),
            metrics: parts.metrics.clone(),
            budget,
            tls: config.tls.clone(),
            tokens_file: config.tokens_file.clone(),
        })?;
        let bind = |rollout| BoundRollout::bind(rollout, &config.state_dir, &grpc);
        let rollout = config.rollout.as_ref().map(bind).transpose()?;
        let admin = admin.serve(probes(&health), registry)?;
        Ok(Self { config, head, listener, address, admin, grpc, rollout, parts })
    }

    /// Where calls are answered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where probes and metrics are answered.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Where roll-outs are taken, if they are.
    pub fn rollout_address(&self) -> Option<SocketAddr> {
        self.rollout.as_ref().map(BoundRollout::address)
    }

    /// Serves at once; has its backbone, and the heads that are here, when this returns. `make` makes the scorer, on the thread that will own it.
    pub async fn start<E>(
        self,
        make: impl FnOnce() -> Result<Box<dyn Scorer>, E> + Send + 'static,
    ) -> Result<Running, AppError>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let Self { config, head, listener, address, admin, grpc, rollout, parts } = self;
        let Parts { engine, health, metrics, batch_metrics, load, queue, items, pool, store, cache, board } =
            parts;
        let stop_listening = CancellationToken::new();
        let (abort, calls) = (grpc.abort(), grpc.calls());
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|source| AppError::Listen { address, source })?;
        // Dropped when this start fails: the port is closed then.
        let guard = stop_listening.clone().drop_guard();
        let serving = tokio::spawn(grpc.serve(listener, stop_listening.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(supervise::beat(Arc::clone(&health)));

        let garbage = Arc::new(Garbage::default());
        let spec = ThreadSpec {
            health: Arc::clone(&health),
            load: Arc::clone(&load),
            metrics: batch_metrics.clone(),
            garbage: Arc::clone(&garbage),
        };
        let started = ScorerThread::start(make, spec).await.map_err(AppError::Thread)?;
        let (scorer, jobs, info) = started.map_err(|error| AppError::Scorer(Box::new(error)))?;
        let beside = Beside {
            model_name: &config.model_name,
            board: &board,
            pool: &pool,
            garbage: &garbage,
            jobs: &jobs,
            backbone_digest: &info.backbone.digest,
        };
        let Heads { models, rollout, rollout_address, commands } =
            Heads::start(head, rollout, beside, stop_listening.clone()).await?;
        health.has_head(models.answers());
        tasks.spawn(supervise::watch_heads(Arc::clone(&health), Arc::clone(&models), board));
        tasks.spawn(supervise::mend(Arc::clone(&health), jobs.downgrade()));
        let prompts = Prompts::new(PromptsSpec {
            store,
            cache,
            jobs: jobs.downgrade(),
            pool: Arc::clone(&pool),
            preprocess: info.backbone.preprocess.clone(),
            limits: config.limits.image,
            garbage,
        });
        let policy = policy(config.batching, &info);
        let worker = Worker { queue: items, jobs, policy, load, metrics: batch_metrics };
        let stop_worker = CancellationToken::new();
        tasks.spawn(supervise::batching(stop_worker.clone(), Arc::clone(&health), worker.run()));
        let filled = engine.set(Engine {
            info,
            models,
            rollout,
            prompts,
            queue,
            pool,
            limits: config.limits.image,
            most_map_bytes: config.limits.max_message_bytes,
            metrics,
        });
        debug_assert!(filled.is_ok(), "a server starts once");
        health.enter(Phase::Serving);
        guard.disarm();
        Ok(Running {
            address,
            rollout_address,
            drain: config.drain,
            health,
            admin,
            serving,
            commands,
            stop_listening,
            abort,
            calls,
            stop_worker,
            scorer,
            _tasks: tasks,
        })
    }
}

impl Running {
    /// Where calls are answered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where probes and metrics are answered.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Where roll-outs are taken, if they are.
    pub fn rollout_address(&self) -> Option<SocketAddr> {
        self.rollout_address
    }

    /// Serves until it is asked to stop, then drains: says that it is not ready and goes on for a while, stops
    /// listening, lets calls in work finish within their time, tells the rest that it is leaving.
    ///
    /// # Errors
    ///
    /// When serving ended unasked.
    pub async fn until_stopped(self, shutdown: Shutdown) -> Result<(), AppError> {
        let Self {
            address: _,
            rollout_address: _,
            drain,
            health,
            admin,
            mut serving,
            commands,
            stop_listening,
            abort,
            calls,
            stop_worker,
            scorer,
            _tasks: tasks,
        } = self;
        tokio::select! {
            () = shutdown.begun() => {}
            ended = &mut serving => return Err(AppError::Ended(ended.ok().and_then(Result::err).map(Box::new))),
        }
        health.enter(Phase::Draining);
        tracing::info!(delay = ?drain.delay, timeout = ?drain.timeout, "not ready any more, still serving");
        tokio::select! {
            () = tokio::time::sleep(drain.delay) => {}
            () = shutdown.hurried() => {}
        }
        stop_listening.cancel();
        health.enter(Phase::Stopped);
        calls.close();
        if timeout(drain.timeout, calls.wait()).await.is_err() {
            tracing::warn!(calls = calls.len(), "calls are aborted: they took longer than the drain may");
            abort.cancel();
            let _ = timeout(FLUSH, calls.wait()).await;
        }
        // Connections that never said anything would keep it for ever.
        if timeout(FLUSH, &mut serving).await.is_err() {
            serving.abort();
        }
        if let Some(mut commands) = commands
            && timeout(FLUSH, &mut commands).await.is_err()
        {
            commands.abort();
        }
        stop_worker.cancel();
        if timeout(SCORER_ENDS, scorer.ended()).await.is_err() {
            tracing::warn!("the scorer is still busy; leaving it behind");
        }
        drop((tasks, admin));
        tracing::info!("stopped");
        Ok(())
    }
}

impl Parts {
    fn new(
        config: &Config,
        registry: &mut Registry,
        health: &Arc<Health>,
        budget: &ByteBudget,
    ) -> Result<Self, AppError> {
        let load = Arc::new(Load::default());
        let (queue, items) = Queue::new(config.limits.max_queued_images, Arc::clone(&load));
        let (waiting, taken) = (queue.clone(), budget.clone());
        let levels = vec![
            Level {
                name: "inctrl_queue_length",
                help: "Images that wait to be computed",
                unit: None,
                read: Box::new(move || waiting.len() as u64),
            },
            Level {
                name: "inctrl_inflight_bytes",
                help: "Bytes of all messages in work",
                unit: None,
                read: Box::new(move || taken.taken() as u64),
            },
        ];
        register_levels(registry, levels);
        let board = Arc::new(Board::new(Arc::new(Bell::new())));
        registry.register_collector(Box::new(Shown(Arc::clone(&board))));
        Ok(Self {
            engine: Arc::default(),
            health: Arc::clone(health),
            metrics: ServerMetrics::register(registry),
            batch_metrics: BatchMetrics::register(registry),
            load,
            queue,
            items,
            pool: Arc::new(CpuPool::new(config.cores()).map_err(AppError::Pool)?),
            store: Arc::new(Store::open(&config.state_dir)?),
            cache: FeatureCache::new(config.limits.prompt_cache_bytes, registry),
            board,
        })
    }
}

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn probes(health: &Arc<Health>) -> Probes {
    let (live, ready) = (Arc::clone(health), Arc::clone(health));
    Probes { live: Box::new(move || live.live()), ready: Box::new(move || ready.ready()) }
}

fn policy(batching: Batching, info: &ScorerInfo) -> Policy {
    let Batching { max_size, max_wait } = batching;
    Policy { max_size: if max_size == 0 { info.batch_size } else { max_size }, max_wait }
}
