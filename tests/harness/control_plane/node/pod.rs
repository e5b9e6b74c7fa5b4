//! The life of a pod on the node: its containers, its status, its end.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Shared;
use super::container::Task;
use super::status::{self, Report};

/// Changes of containers that may wait to be reported: more than a pod's containers make at once.
const REPORTS: usize = 64;

/// After a report that did not get through.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// Runs a pod to its end, reports it, and takes the pod away once it is deleted.
pub(super) async fn run(node: Arc<Shared>, pod: Pod, mut ended: watch::Receiver<Option<Duration>>) {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if !matches!(phase, Some("Succeeded" | "Failed")) {
        Box::pin(run_containers(&node, Arc::new(pod.clone()), &ended)).await;
    }
    // A sender that is gone is a node that is.
    if ended.wait_for(Option::is_some).await.is_ok() {
        take_away(&node, &pod).await;
    }
}

async fn run_containers(node: &Arc<Shared>, pod: Arc<Pod>, ended: &watch::Receiver<Option<Duration>>) {
    let address = node.next_address();
    let spec = pod.spec.clone().unwrap_or_default();
    let init = spec.init_containers.unwrap_or_default();
    let (sender, mut receiver) = mpsc::channel(REPORTS);
    let task = |container: &Container, is_init| Task {
        node: Arc::clone(node),
        pod: Arc::clone(&pod),
        container: container.clone(),
        is_init,
        address: address.clone(),
        ended: ended.clone(),
        reports: sender.clone(),
    };
    let init_tasks: Vec<_> = init.iter().map(|container| task(container, true)).collect();
    let main_tasks: Vec<_> = spec.containers.iter().map(|container| task(container, false)).collect();
    drop(sender);

    let mut told = Told::new(node, &pod, address, init, spec.containers);
    let work = async {
        for task in init_tasks {
            if !task.run().await {
                return;
            }
        }
        let mut running: JoinSet<bool> = main_tasks.into_iter().map(Task::run).collect();
        while running.join_next().await.is_some() {}
    };
    tokio::pin!(work);
    let mut is_over = false;
    while !is_over {
        tokio::select! {
            () = &mut work => is_over = true,
            Some((name, report)) = receiver.recv() => told.take(&name, report),
        }
        while let Ok((name, report)) = receiver.try_recv() {
            told.take(&name, report);
        }
        if !told.tell(is_over).await {
            return;
        }
    }
}

/// What the API server is told of a pod.
struct Told<'a> {
    node: &'a Shared,
    pod: &'a Pod,
    address: String,
    began: String,
    init: Vec<(String, Report)>,
    main: Vec<(String, Report)>,
}

impl<'a> Told<'a> {
    fn new(
        node: &'a Shared,
        pod: &'a Pod,
        address: String,
        init: Vec<Container>,
        main: Vec<Container>,
    ) -> Self {
        let reports = |containers: Vec<Container>| {
            containers.into_iter().map(|container| (container.name, Report::new())).collect()
        };
        let (init, main) = (reports(init), reports(main));
        Self { node, pod, address, began: status::now(), init, main }
    }

    fn take(&mut self, name: &str, report: Report) {
        let mut all = self.init.iter_mut().chain(&mut self.main);
        if let Some((_, slot)) = all.find(|(known, _)| known == name) {
            *slot = report;
        }
    }

    /// Writes the pod's status, however often it takes; `false` where the pod is gone.
    async fn tell(&self, is_over: bool) -> bool {
        let reports =
            |of: &[(String, Report)]| of.iter().map(|(_, report)| report.clone()).collect::<Vec<_>>();
        let (init, main) = (reports(&self.init), reports(&self.main));
        let (address, began) = (self.address.as_str(), self.began.as_str());
        let known = status::Known { address, began, init: &init, main: &main };
        let status = status::of_pod(self.pod, &known, is_over);
        let pods = self.node.pods(&self.pod.namespace().unwrap_or_default());
        let name = self.pod.name_any();
        loop {
            let patched = pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&status)).await;
            match patched {
                Ok(patched) => return patched.uid() == self.pod.uid(),
                Err(kube::Error::Api(refused)) if refused.code == 404 => return false,
                Err(_) => sleep(TRY_AGAIN).await,
            }
        }
    }
}

/// Deletes the pod for good, as a node does once its containers are gone.
async fn take_away(node: &Shared, pod: &Pod) {
    let pods = node.pods(&pod.namespace().unwrap_or_default());
    let this = Preconditions { uid: pod.uid(), resource_version: None };
    let now = DeleteParams::default().grace_period(0).preconditions(this);
    loop {
        match pods.delete(&pod.name_any(), &now).await {
            Err(kube::Error::Api(refused)) if matches!(refused.code, 404 | 409) => return,
            Ok(_) => return,
            Err(_) => sleep(TRY_AGAIN).await,
        }
    }
}
