//! `RolloutService`, on a listener of its own.

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use inctrl_proto::v1::rollout_service_server::RolloutService;
use inctrl_proto::v1::{
    ApplyRolloutRequest, ApplyRolloutResponse, GetRolloutStatusRequest, GetRolloutStatusResponse,
    RolloutStatus, WatchRolloutStatusRequest, WatchRolloutStatusResponse,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::Services;
use crate::failure::Failure;
use crate::rollout::Rollout;

mod command;
mod status;

/// Time between two answers of a watch where none is asked for, and the least and most that can be.
const PERIOD: Duration = Duration::from_secs(30);
const PERIODS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(1));

/// The service over what all services share.
#[derive(Debug, Clone)]
pub(super) struct Rollouts {
    pub(super) services: Services,
    /// Ends the watches, so that they do not hold up the end of the process.
    pub(super) stop: CancellationToken,
}

impl Rollouts {
    fn rollout(&self) -> Result<Rollout, Failure> {
        // Where this service is served there are roll-outs, once the server has started.
        self.services.engine()?.rollout.clone().ok_or(Failure::Starting)
    }
}

fn told(rollout: &Rollout) -> RolloutStatus {
    status::status(rollout.board(), rollout.backbone_digest())
}

#[tonic::async_trait]
impl RolloutService for Rollouts {
    async fn apply_rollout(
        &self,
        request: Request<ApplyRolloutRequest>,
    ) -> Result<Response<ApplyRolloutResponse>, Status> {
        let (desired, given) = command::command(request.into_inner())?;
        let rollout = self.rollout()?;
        rollout.apply(desired, given).await?;
        Ok(Response::new(ApplyRolloutResponse { status: Some(told(&rollout)) }))
    }

    async fn get_rollout_status(
        &self,
        _: Request<GetRolloutStatusRequest>,
    ) -> Result<Response<GetRolloutStatusResponse>, Status> {
        let rollout = self.rollout()?;
        Ok(Response::new(GetRolloutStatusResponse { status: Some(told(&rollout)) }))
    }

    type WatchRolloutStatusStream =
        Pin<Box<dyn Stream<Item = Result<WatchRolloutStatusResponse, Status>> + Send>>;

    async fn watch_rollout_status(
        &self,
        request: Request<WatchRolloutStatusRequest>,
    ) -> Result<Response<Self::WatchRolloutStatusStream>, Status> {
        let period = period(request.get_ref())?;
        let rollout = self.rollout()?;
        let bell = rollout.board().bell().listen();
        let answers =
            stream::unfold((rollout, bell, true), move |(rollout, mut bell, is_first)| async move {
                if is_first {
                    bell.mark_unchanged();
                } else {
                    // News, or the time for another look at the counts.
                    let _ = tokio::time::timeout(period, bell.changed()).await;
                }
                let answer = WatchRolloutStatusResponse { status: Some(told(&rollout)) };
                Some((Ok(answer), (rollout, bell, false)))
            });
        let stopped = self.stop.clone().cancelled_owned();
        Ok(Response::new(Box::pin(answers.take_until(Box::pin(stopped)))))
    }
}

fn period(request: &WatchRolloutStatusRequest) -> Result<Duration, Failure> {
    let Some(asked) = request.period else { return Ok(PERIOD) };
    let asked = Duration::try_from(asked).ok().filter(|asked| (PERIODS.0..=PERIODS.1).contains(asked));
    asked.ok_or_else(|| Failure::invalid("period", "is not between 1 s and 1 h"))
}
