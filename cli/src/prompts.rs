//! `prompts`: create, list, get and delete prompt sets.

use std::io::Write;

use inctrl_proto::v1::prompt_set_service_client::PromptSetServiceClient;
use inctrl_proto::v1::{
    CreatePromptSetRequest, DeletePromptSetRequest, GetPromptSetRequest, ListPromptSetsRequest, PromptSet,
};
use serde::Serialize;
use tonic::Code;

use crate::args::{CreateArgs, DeleteArgs, Format, GetArgs, ListArgs, PromptsCommand};
use crate::exit::Exit;
use crate::info;
use crate::inputs;
use crate::normals::{self, NormalsError, id, resource_name};
use crate::notes::Notes;
use crate::output::{Column, Output, OutputError, Row, short, width};
use crate::server::{CallError, Server};

/// Why a command on prompt sets failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PromptsError {
    /// The normal images cannot be used.
    #[error(transparent)]
    Normals(#[from] NormalsError),
    /// The server cannot be used.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It cannot be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Runs one command on prompt sets; data goes to `writer`.
pub(crate) async fn run(
    command: PromptsCommand,
    server: &Server,
    notes: &Notes,
    writer: impl Write,
) -> Result<Exit, PromptsError> {
    match command {
        PromptsCommand::Create(args) => {
            let format = args.output.format;
            let stored = create(args, server).await?;
            notes.note(&format!("stored {} with {} images", stored.name, stored.shot_count));
            print(writer, format, vec![stored])?;
        }
        PromptsCommand::List(ListArgs { output }) => {
            let found = list(server).await?;
            if found.is_empty() {
                notes.note("the server has no prompt sets");
            }
            print(writer, output.format, found)?;
        }
        PromptsCommand::Get(GetArgs { name, output }) => {
            let request = GetPromptSetRequest { name: resource_name(&name) };
            let send =
                async |channel, request| PromptSetServiceClient::new(channel).get_prompt_set(request).await;
            let found = server.call(&request, send).await?.prompt_set.unwrap_or_default();
            print(writer, output.format, vec![found])?;
        }
        PromptsCommand::Delete(args) => {
            let name = delete(args, server).await?;
            notes.note(&format!("deleted {name}"));
        }
    }
    Ok(Exit::Done)
}

async fn create(args: CreateArgs, server: &Server) -> Result<PromptSet, PromptsError> {
    let CreateArgs { name, class, images, output: _ } = args;
    let images = inputs::expand(&images, None).map_err(NormalsError::from)?;
    let limits = info::fetch(server).await?.limits.unwrap_or_default();
    let prompts = normals::to_store(images, class, &limits).await?;
    let request = CreatePromptSetRequest { prompt_set_id: id(&name).to_owned(), prompts: Some(prompts) };
    let send = async |channel, request| PromptSetServiceClient::new(channel).create_prompt_set(request).await;
    Ok(server.call(&request, send).await?.prompt_set.unwrap_or_default())
}

/// All pages.
async fn list(server: &Server) -> Result<Vec<PromptSet>, CallError> {
    let mut found = Vec::new();
    let mut request = ListPromptSetsRequest::default();
    let send = async |channel, request| PromptSetServiceClient::new(channel).list_prompt_sets(request).await;
    loop {
        let page = server.call(&request, send).await?;
        found.extend(page.prompt_sets);
        if page.next_page_token.is_empty() {
            return Ok(found);
        }
        request.page_token = page.next_page_token;
    }
}

async fn delete(args: DeleteArgs, server: &Server) -> Result<String, CallError> {
    let DeleteArgs { name, etag } = args;
    let request = DeletePromptSetRequest { name: resource_name(&name), etag };
    let send = async |channel, request| PromptSetServiceClient::new(channel).delete_prompt_set(request).await;
    match server.call(&request, send).await {
        Ok(()) => Ok(request.name),
        // The first attempt did it, and its answer was lost.
        Err(CallError::Refused { status, was_repeated: true, .. }) if status.code() == Code::NotFound => {
            Ok(request.name)
        }
        Err(error) => Err(error),
    }
}

fn print(writer: impl Write, format: Format, sets: Vec<PromptSet>) -> Result<(), OutputError> {
    let rows: Vec<PromptSetRow> = sets.into_iter().map(PromptSetRow::of).collect();
    let first_width = rows.iter().map(|row| width(&row.name)).max().unwrap_or_default();
    let mut output = Output::new(writer, format, first_width);
    rows.iter().try_for_each(|row| output.row(row))
}

/// A prompt set as a row.
#[derive(Debug, Serialize)]
struct PromptSetRow {
    name: String,
    class: String,
    shots: i32,
    digest: String,
    created: Option<String>,
    etag: String,
}

impl PromptSetRow {
    fn of(set: PromptSet) -> Self {
        let PromptSet { name, object_class, shot_count, content_digest, create_time, etag } = set;
        Self {
            name,
            class: object_class,
            shots: shot_count,
            digest: content_digest,
            created: create_time.map(|time| time.to_string()),
            etag,
        }
    }
}

impl Row for PromptSetRow {
    const COLUMNS: &'static [Column] = &[
        Column::text("name", 4),
        Column::text("class", 16),
        Column::number("shots", 5),
        Column::text("digest", 19),
        Column::text("created", 20),
    ];

    fn cells(&self) -> Vec<String> {
        let Self { name, class, shots, digest, created, etag: _ } = self;
        let created = created.clone().unwrap_or_default();
        vec![name.clone(), class.clone(), shots.to_string(), short(digest).to_owned(), created]
    }
}
