//! Config -> running operator: the only place where everything meets. Third of three moves.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use inctrl_telemetry::prometheus_client::registry::Registry;
use inctrl_telemetry::{Admin, BuildInfo, Probes, Shutdown};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::client::ClientBuilder;
use kube::runtime::reflector;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::cluster::Cluster;
use crate::config::Config;
use crate::controller::apply::Actor;
use crate::controller::build::job::MODEL_LABEL;
use crate::controller::driver::Controller;
use crate::controller::keys::spread;
use crate::controller::looks::{DatasetKey, Looks};
use crate::controller::observe::{Caches, JOB_STATES, job_state};
use crate::crd::InCTRLModel;
use crate::lease::{self, Leadership};
use crate::limiter::Limiter;
use crate::metrics::Metrics;
use crate::packed::PackedModel;
use crate::queue::{Backoff, Queue};
use crate::servers::{Fleet, Heads, ModelKey};
use crate::watches::{Seen, SignsOfLife, watch};

/// Back-off of one object's failures.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(5) };

/// Changes that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// A new leader looks at all models within this, so many a second at most.
const LONGEST_START: Duration = Duration::from_secs(30);
const STARTS_PER_SECOND: f64 = 500.0;

/// How often gauges are brought up to date.
const GAUGES: Duration = Duration::from_secs(5);

/// How long rounds that have begun may take once the operator is to stop.
const GRACE: Duration = Duration::from_secs(10);

type Failure = Box<dyn Error>;

/// Runs until told to stop.
pub fn run(config: Config) -> Result<(), Failure> {
    inctrl_telemetry::log::init(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(operate(config));
    // Calls that hang must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn operate(config: Config) -> Result<(), Failure> {
    let shutdown = Shutdown::on_signals()?;
    let admin = Admin::bind(config.admin_listen)?;
    write_address(&config, admin.address())?;
    let mut registry = Registry::default();
    BuildInfo {
        program: "inctrl-operator",
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("INCTRL_REVISION").unwrap_or("unknown"),
    }
    .register(&mut registry);
    inctrl_telemetry::process::register(&mut registry);
    let metrics = Metrics::register(&mut registry);
    let signs = SignsOfLife::default();
    let client = connect(&config, &signs).await?;

    let ready = Arc::new(AtomicBool::new(false));
    let (live, is_ready) = (signs.clone(), Arc::clone(&ready));
    let probes = Probes {
        live: Box::new(move || live.check()),
        // Standbys are ready too: a rolling update must not wait for the Lease.
        ready: Box::new(move || {
            let is_ready = is_ready.load(Ordering::Acquire);
            is_ready.then_some(()).ok_or_else(|| "caches are not filled yet".to_owned())
        }),
    };
    let _admin = admin.serve(probes, registry)?;

    let parts = Parts::new(&config, client, metrics);
    let mut tasks = JoinSet::new();
    parts.watch(&config, &mut tasks);
    tokio::select! {
        filled = parts.filled() => filled?,
        () = shutdown.begun() => return Ok(()),
    }
    ready.store(true, Ordering::Release);
    parts.gauges(signs, &mut tasks);
    parts.lead(&mut tasks);
    for _ in 0..config.concurrency {
        tasks.spawn(Arc::clone(&parts.controller).work());
    }
    let fleet = Arc::clone(&parts.controller.actor.fleet);
    let fences = move || fleet.newest_epoch();
    let contending = lease::contend(parts.client.clone(), config.lease, parts.leadership, fences, {
        let shutdown = shutdown.clone();
        async move { shutdown.begun().await }
    });
    // Ends when told to stop, the Lease given back: another begins while rounds that have begun here come to their end.
    contending.await;
    tokio::select! {
        () = shutdown.hurried() => {}
        () = sleep(GRACE) => {}
        () = idle(&parts.controller) => {}
    }
    tasks.shutdown().await;
    Ok(())
}

fn write_address(config: &Config, address: SocketAddr) -> Result<(), Failure> {
    let Some(path) = &config.address_file else { return Ok(()) };
    let draft = path.with_extension("part");
    std::fs::write(&draft, address.to_string())?;
    std::fs::rename(&draft, path)?;
    Ok(())
}

async fn connect(config: &Config, signs: &SignsOfLife) -> Result<Client, Failure> {
    let mut cluster = kube::Config::infer().await?;
    // Our own queue tries again; a call that retries inside itself would hide behind its time limit.
    cluster.default_retry = false;
    cluster.connect_timeout = Some(config.api_timeout);
    Ok(ClientBuilder::try_from(cluster)?.with_layer(signs).build())
}

/// Completes when no round is under way.
async fn idle(controller: &Controller) {
    let mut looks = interval(Duration::from_millis(50));
    loop {
        looks.tick().await;
        if controller.queue.working() == 0 {
            return;
        }
    }
}

/// What the tasks share.
struct Parts {
    client: Client,
    controller: Arc<Controller>,
    leadership: watch::Sender<Leadership>,
    pods_changed: Arc<Notify>,
    writers: Mutex<Option<Writers>>,
    metrics: Metrics,
}

type Writers =
    (reflector::store::Writer<PackedModel>, reflector::store::Writer<Job>, reflector::store::Writer<Pod>);

impl Parts {
    fn new(config: &Config, client: Client, metrics: Metrics) -> Self {
        let limiter = Limiter::new(config.api_rate.0, config.api_rate.1);
        let identity = config.lease.identity.clone();
        let cluster = Cluster::new(client.clone(), limiter, config.api_timeout, identity, metrics.clone());
        let queue = Arc::new(Queue::new(BACKOFF));
        let (models, models_writer) = reflector::store();
        let (jobs, jobs_writer) = reflector::store();
        let (pods, pods_writer) = reflector::store();
        let notify = Arc::clone(&queue);
        let heads = Heads::new(config.stores.clone(), cluster.clone());
        let fleet = Fleet::new(
            config.dialer.clone(),
            heads,
            Arc::new(move |key: &ModelKey| notify.add(key.clone(), DEBOUNCE)),
            metrics.clone(),
        );
        let (leadership, following) = watch::channel(Leadership::default());
        let controller = Controller {
            caches: Caches { models, jobs, pods },
            actor: Actor {
                cluster,
                stores: config.stores.clone(),
                looks: Looks::default(),
                fleet: Arc::new(fleet),
                defaults: config.defaults.clone(),
            },
            queue,
            leadership: following,
            allowed: config.allowed,
            resync: config.resync,
            metrics: metrics.clone(),
            written: Mutex::new(BTreeMap::new()),
        };
        Self {
            client,
            controller: Arc::new(controller),
            leadership,
            pods_changed: Arc::new(Notify::new()),
            writers: Mutex::new(Some((models_writer, jobs_writer, pods_writer))),
            metrics,
        }
    }

    /// Starts the watches.
    fn watch(&self, config: &Config, tasks: &mut JoinSet<()>) {
        let writers = self.writers.lock().ok().and_then(|mut writers| writers.take());
        let Some((models, jobs, pods)) = writers else { return };
        let namespace = config.watch_namespace.as_deref();

        let queue = Arc::clone(&self.controller.queue);
        let models_api = api::<InCTRLModel>(&self.client, namespace);
        let pack = PackedModel::new;
        tasks.spawn(watch("inctrlmodels", models_api, None, models, pack, move |seen| match seen {
            Seen::Changed(model) | Seen::Gone(model) => queue.add(ModelKey::of(model), DEBOUNCE),
            Seen::Listed => {}
        }));

        let queue = Arc::clone(&self.controller.queue);
        let jobs_api = api::<Job>(&self.client, namespace);
        tasks.spawn(watch("jobs", jobs_api, Some(MODEL_LABEL.to_owned()), jobs, strip_job, move |seen| {
            if let Seen::Changed(job) | Seen::Gone(job) = seen
                && let Some(key) = labelled(job.namespace(), job.labels())
            {
                queue.add(key, DEBOUNCE);
            }
        }));

        let (queue, changed) = (Arc::clone(&self.controller.queue), Arc::clone(&self.pods_changed));
        let pods_api = api::<Pod>(&self.client, namespace);
        tasks.spawn(watch("pods", pods_api, config.pod_selector.clone(), pods, strip_pod, move |seen| {
            if let Seen::Changed(pod) | Seen::Gone(pod) = seen
                && let Some(key) = labelled(pod.namespace(), pod.labels())
            {
                queue.add(key, DEBOUNCE);
            } else {
                changed.notify_one();
            }
        }));
        self.discover(tasks);
    }

    /// Looks which servers there are, whenever pods have changed.
    fn discover(&self, tasks: &mut JoinSet<()>) {
        let (controller, changed) = (Arc::clone(&self.controller), Arc::clone(&self.pods_changed));
        tasks.spawn(async move {
            loop {
                changed.notified().await;
                sleep(DEBOUNCE).await;
                controller.actor.fleet.saw_pods(&controller.caches.pods.state());
            }
        });
    }

    /// Completes when all caches are filled.
    async fn filled(&self) -> Result<(), Failure> {
        let Caches { models, jobs, pods } = &self.controller.caches;
        models.wait_until_ready().await?;
        jobs.wait_until_ready().await?;
        pods.wait_until_ready().await?;
        tracing::info!(models = models.len(), jobs = jobs.len(), pods = pods.len(), "caches are filled");
        Ok(())
    }

    /// Begins and ceases to act with the Lease.
    fn lead(&self, tasks: &mut JoinSet<()>) {
        let (controller, metrics) = (Arc::clone(&self.controller), self.metrics.clone());
        let mut following = self.controller.leadership.clone();
        tasks.spawn(async move {
            loop {
                let epoch = following.borrow_and_update().epoch;
                metrics.leader(epoch);
                match epoch {
                    Some(epoch) => begin(&controller, epoch),
                    None => controller.actor.fleet.retire(),
                }
                if following.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// Keeps gauges up to date.
    fn gauges(&self, signs: SignsOfLife, tasks: &mut JoinSet<()>) {
        let (controller, metrics) = (Arc::clone(&self.controller), self.metrics.clone());
        tasks.spawn(async move {
            let mut looks = interval(GAUGES);
            loop {
                looks.tick().await;
                let (depth, overdue) = controller.queue.depth();
                metrics.queue(depth, overdue);
                for (kind, age) in signs.ages() {
                    metrics.watch(kind, age);
                }
                let (answering, silent) = controller.actor.fleet.count();
                metrics.servers(answering, silent);
                let mut phases: BTreeMap<String, i64> = BTreeMap::new();
                for model in controller.caches.models.state() {
                    *phases.entry(model.phase().unwrap_or("Pending").to_owned()).or_default() += 1;
                }
                metrics.models(phases);
                let mut jobs = BTreeMap::from(JOB_STATES.map(|state| (state, 0)));
                for job in controller.caches.jobs.state() {
                    *jobs.entry(job_state(&job)).or_default() += 1;
                }
                metrics.training_jobs(jobs);
            }
        });
    }
}

/// A new leader takes in what every model is to have, then looks at each, not all at once.
fn begin(controller: &Arc<Controller>, epoch: i64) {
    let models = controller.caches.models.state();
    let mut named = BTreeSet::new();
    let opened = models.iter().map(|model| {
        let model = model.open();
        named.insert(DatasetKey::of(&model.namespace().unwrap_or_default(), &model.spec.training.dataset));
        model
    });
    controller.actor.fleet.adopt(epoch, opened);
    controller.actor.fleet.saw_pods(&controller.caches.pods.state());
    controller.actor.looks.keep_datasets(|key| named.contains(key));
    let over = Duration::from_secs_f64(models.len() as f64 / STARTS_PER_SECOND).min(LONGEST_START);
    for model in models {
        let after = over.mul_f64(spread(model.uid().unwrap_or_default()));
        controller.queue.add(ModelKey::of(&*model), after);
    }
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn labelled(namespace: Option<String>, labels: &BTreeMap<String, String>) -> Option<ModelKey> {
    Some(ModelKey { namespace: namespace?, name: labels.get(MODEL_LABEL)?.clone() })
}

fn strip_job(mut job: Job) -> Job {
    job.metadata.managed_fields = None;
    job.metadata.annotations = None;
    if let Some(spec) = &mut job.spec {
        spec.template = k8s_openapi::api::core::v1::PodTemplateSpec::default();
        spec.pod_failure_policy = None;
    }
    job
}

/// Of a pod: labels, owner, ports, address and what became of its containers.
fn strip_pod(mut pod: Pod) -> Pod {
    pod.metadata.managed_fields = None;
    pod.metadata.annotations = None;
    if let Some(spec) = &mut pod.spec {
        let mut kept = k8s_openapi::api::core::v1::PodSpec::default();
        for container in std::mem::take(&mut spec.containers) {
            kept.containers.push(k8s_openapi::api::core::v1::Container {
                name: container.name,
                ports: container.ports,
                ..k8s_openapi::api::core::v1::Container::default()
            });
        }
        *spec = kept;
    }
    pod
}
