//! `ServerInfoService`.

use inctrl_proto::v1::server_info_service_server::ServerInfoService;
use inctrl_proto::v1::{GetServerInfoRequest, GetServerInfoResponse, Model};
use tonic::{Request, Response, Status};

use super::{Services, convert};
use crate::config::precision_name;
use crate::revisions::Served;

#[tonic::async_trait]
impl ServerInfoService for Services {
    async fn get_server_info(
        &self,
        _: Request<GetServerInfoRequest>,
    ) -> Result<Response<GetServerInfoResponse>, Status> {
        let engine = self.engine()?;
        let model = |Served { name, active, candidate, weight_percent }: Served| Model {
            name: format!("models/{name}"),
            active_revision: active.digest().to_owned(),
            head_kind: active.kind().to_string(),
            active_revision_number: active.number(),
            candidate_revision: candidate.map(|head| head.digest().to_owned()).unwrap_or_default(),
            candidate_weight_percent: weight_percent.into(),
        };
        Ok(Response::new(GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: engine.info.device.clone(),
            precision: precision_name(engine.info.precision).to_owned(),
            backbone: Some(convert::backbone(&engine.info.backbone)),
            models: engine.models.list().into_iter().map(model).collect(),
            limits: Some(convert::limits(self.limits())),
            uptime: Some(convert::duration(self.health().uptime())),
        }))
    }
}
