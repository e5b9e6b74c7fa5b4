//! Prompt sets in memory, two a page. The answer to the deletion of `lost` is lost.

use inctrl_proto::v1::prompt_set_service_server::PromptSetService;
use inctrl_proto::v1::{
    CreatePromptSetRequest, CreatePromptSetResponse, DeletePromptSetRequest, GetPromptSetRequest,
    GetPromptSetResponse, ListPromptSetsRequest, ListPromptSetsResponse, PromptSet,
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::Services;

const PAGE: usize = 2;

#[tonic::async_trait]
impl PromptSetService for Services {
    async fn create_prompt_set(
        &self,
        request: Request<CreatePromptSetRequest>,
    ) -> Result<Response<CreatePromptSetResponse>, Status> {
        let CreatePromptSetRequest { prompt_set_id, prompts } = request.into_inner();
        let prompts = prompts.unwrap_or_default();
        // Content told apart is all that a digest is for.
        let content =
            prompts.encode_to_vec().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let set = PromptSet {
            name: format!("promptSets/{prompt_set_id}"),
            object_class: prompts.object_class,
            shot_count: prompts.normal_images.len() as i32,
            content_digest: format!("sha256:{content}"),
            create_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            etag: "1".to_owned(),
        };
        let mut sets = self.0.prompt_sets.lock().unwrap();
        match sets.iter().find(|other| other.name == set.name) {
            Some(other) if *other != set => {
                return Err(Status::already_exists(format!("{:?} exists with other content", set.name)));
            }
            Some(_) => {}
            None => sets.push(set.clone()),
        }
        Ok(Response::new(CreatePromptSetResponse { prompt_set: Some(set) }))
    }

    async fn get_prompt_set(
        &self,
        request: Request<GetPromptSetRequest>,
    ) -> Result<Response<GetPromptSetResponse>, Status> {
        let name = request.into_inner().name;
        let sets = self.0.prompt_sets.lock().unwrap();
        let found = sets.iter().find(|set| set.name == name).cloned();
        let found = found.ok_or_else(|| Status::not_found(format!("there is no prompt set {name:?}")))?;
        Ok(Response::new(GetPromptSetResponse { prompt_set: Some(found) }))
    }

    async fn list_prompt_sets(
        &self,
        request: Request<ListPromptSetsRequest>,
    ) -> Result<Response<ListPromptSetsResponse>, Status> {
        let from: usize = request.into_inner().page_token.parse().unwrap_or(0);
        let sets = self.0.prompt_sets.lock().unwrap();
        let page = sets.iter().skip(from).take(PAGE).cloned().collect();
        let next = from + PAGE;
        let next_page_token = if next < sets.len() { next.to_string() } else { String::new() };
        Ok(Response::new(ListPromptSetsResponse { prompt_sets: page, next_page_token }))
    }

    async fn delete_prompt_set(
        &self,
        request: Request<DeletePromptSetRequest>,
    ) -> Result<Response<()>, Status> {
        let DeletePromptSetRequest { name, etag } = request.into_inner();
        let mut sets = self.0.prompt_sets.lock().unwrap();
        let Some(place) = sets.iter().position(|set| set.name == name) else {
            return Err(Status::not_found(format!("there is no prompt set {name:?}")));
        };
        if !etag.is_empty() && etag != sets[place].etag {
            return Err(Status::aborted(format!("{name:?} has etag {:?}, not {etag:?}", sets[place].etag)));
        }
        sets.remove(place);
        if name == "promptSets/lost" {
            return Err(Status::unavailable("the answer is lost on its way"));
        }
        Ok(Response::new(()))
    }
}
