//! `PromptSetService`.

use inctrl_proto::v1::prompt_set_service_server::PromptSetService;
use inctrl_proto::v1::{
    CreatePromptSetRequest, CreatePromptSetResponse, DeletePromptSetRequest, GetPromptSetRequest,
    GetPromptSetResponse, ListPromptSetsRequest, ListPromptSetsResponse,
};
use tonic::{Request, Response, Status};

use super::{Services, convert};
use crate::failure::Failure;

/// Entries of a page where none are asked for, and most.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;

#[tonic::async_trait]
impl PromptSetService for Services {
    async fn create_prompt_set(
        &self,
        request: Request<CreatePromptSetRequest>,
    ) -> Result<Response<CreatePromptSetResponse>, Status> {
        let (id, images) = convert::create(request.into_inner(), self.limits())?;
        let created = self.engine()?.prompts.create(id, images).await?;
        let prompt_set = Some(convert::prompt_set(&created));
        Ok(Response::new(CreatePromptSetResponse { prompt_set }))
    }

    async fn get_prompt_set(
        &self,
        request: Request<GetPromptSetRequest>,
    ) -> Result<Response<GetPromptSetResponse>, Status> {
        let id = convert::prompt_set_name(&request.into_inner().name)?;
        let prompt_set = Some(convert::prompt_set(&*self.engine()?.prompts.get(&id)?));
        Ok(Response::new(GetPromptSetResponse { prompt_set }))
    }

    async fn list_prompt_sets(
        &self,
        request: Request<ListPromptSetsRequest>,
    ) -> Result<Response<ListPromptSetsResponse>, Status> {
        let ListPromptSetsRequest { page_size, page_token } = request.into_inner();
        let most = match usize::try_from(page_size) {
            Ok(0) => PAGE,
            Ok(asked) => asked.min(LARGEST_PAGE),
            Err(_) => return Err(Failure::invalid("page_size", "is negative; 0 means 50").into()),
        };
        let after = convert::page_token(&page_token)?;
        let (page, has_more) = self.engine()?.prompts.list(after.as_ref(), most);
        let last = page.last().filter(|_| has_more);
        let next_page_token = last.map(|info| info.id.to_string()).unwrap_or_default();
        let prompt_sets = page.iter().map(|info| convert::prompt_set(info)).collect();
        Ok(Response::new(ListPromptSetsResponse { prompt_sets, next_page_token }))
    }

    async fn delete_prompt_set(
        &self,
        request: Request<DeletePromptSetRequest>,
    ) -> Result<Response<()>, Status> {
        let DeletePromptSetRequest { name, etag } = request.into_inner();
        let id = convert::prompt_set_name(&name)?;
        let etag = (!etag.is_empty()).then_some(etag);
        self.engine()?.prompts.delete(id, etag).await?;
        Ok(Response::new(()))
    }
}
