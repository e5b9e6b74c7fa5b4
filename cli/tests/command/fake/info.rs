//! What the fake says of itself.

use inctrl_proto::v1::server_info_service_server::ServerInfoService;
use inctrl_proto::v1::{BackboneInfo, GetServerInfoRequest, GetServerInfoResponse, Limits, Model};
use tonic::{Request, Response, Status};

use super::Services;

#[tonic::async_trait]
impl ServerInfoService for Services {
    async fn get_server_info(
        &self,
        request: Request<GetServerInfoRequest>,
    ) -> Result<Response<GetServerInfoResponse>, Status> {
        self.0.admit(&request)?;
        Ok(Response::new(GetServerInfoResponse {
            version: "1.2.3".to_owned(),
            device: "cpu".to_owned(),
            precision: "fp32".to_owned(),
            backbone: Some(BackboneInfo {
                name: "toy".to_owned(),
                digest: "sha256:bb".to_owned(),
                provenance: self.0.provenance.to_owned(),
                image_size: 240,
                grid_rows: 15,
                grid_columns: 15,
                has_text: false,
            }),
            models: vec![Model {
                name: "models/default".to_owned(),
                active_revision: "sha256:0123456789abcdef".to_owned(),
                head_kind: "contextual".to_owned(),
                ..Model::default()
            }],
            limits: Some(Limits {
                max_message_bytes: 1 << 20,
                max_image_bytes: 1 << 16,
                max_image_pixels: 1 << 20,
                max_shots: 16,
                max_batch_images: 8,
            }),
            uptime: Some(prost_types::Duration { seconds: 90, nanos: 0 }),
        }))
    }
}
