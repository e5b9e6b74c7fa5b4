//! Prompt sets over gRPC: kept over a restart, paged, refused.

use inctrl_proto::v1::{
    DeletePromptSetRequest, GetPromptSetRequest, ListPromptSetsRequest, ListPromptSetsResponse,
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::stage::{Server, against, create, grey, inline, reason};

#[tokio::test]
async fn a_prompt_set_survives_a_restart_and_its_features_are_computed_again() {
    let (server, _hand) = Server::start().await;
    let created = server.create("nut").await;
    assert_eq!((created.name.as_str(), created.shot_count), ("promptSets/nut", 1));
    let folder = server.stop().await;
    let (server, hand) = Server::start_in(folder, |_| {}).await;
    let get = GetPromptSetRequest { name: "promptSets/nut".to_owned() };
    let found = server.prompt_sets().await.get_prompt_set(get).await.unwrap().into_inner().prompt_set;
    assert_eq!(found, Some(created));
    let mut detector = server.detector().await;
    for is_hit in [false, true] {
        let answer = detector.detect_anomaly(against("nut", grey(3))).await.unwrap().into_inner();
        assert_eq!(answer.timing.unwrap().is_prompt_cache_hit, is_hit);
    }
    assert_eq!(hand.seen().encoded, 1);
}

#[tokio::test]
async fn creating_again_is_harmless_with_the_same_content_only() {
    let (server, hand) = Server::start().await;
    let mut client = server.prompt_sets().await;
    let first = client.create_prompt_set(create("nut", inline(&[1]))).await.unwrap().into_inner();
    let again = client.create_prompt_set(create("nut", inline(&[1]))).await.unwrap().into_inner();
    assert_eq!(first, again);
    assert_eq!(hand.seen().encoded, 1);
    let other = client.create_prompt_set(create("nut", inline(&[2]))).await.unwrap_err();
    assert_eq!((other.code(), reason(&other).as_str()), (Code::AlreadyExists, "PROMPT_SET_EXISTS"));
    assert_eq!(other.get_details_resource_info().unwrap().resource_name, "promptSets/nut");
    assert_eq!(hand.seen().encoded, 1, "what is refused must not be computed");
}

#[tokio::test]
async fn pages_lead_through_all_prompt_sets() {
    let (server, _hand) = Server::start().await;
    for id in ["c", "a", "b"] {
        server.create(id).await;
    }
    let mut client = server.prompt_sets().await;
    let mut list = async |page_token: String| {
        let request = ListPromptSetsRequest { page_size: 2, page_token };
        client.list_prompt_sets(request).await.unwrap().into_inner()
    };
    let names = |page: &ListPromptSetsResponse| -> Vec<String> {
        page.prompt_sets.iter().map(|set| set.name.clone()).collect()
    };
    let first = list(String::new()).await;
    assert_eq!(names(&first), ["promptSets/a", "promptSets/b"]);
    let last = list(first.next_page_token).await;
    assert_eq!((names(&last), last.next_page_token.as_str()), (vec!["promptSets/c".to_owned()], ""));
}

#[tokio::test]
async fn deleting_wants_the_current_etag_where_one_is_given() {
    let (server, _hand) = Server::start().await;
    let created = server.create("nut").await;
    let mut client = server.prompt_sets().await;
    let delete =
        |etag: &str| DeletePromptSetRequest { name: "promptSets/nut".to_owned(), etag: etag.to_owned() };
    let stale = client.delete_prompt_set(delete("stale")).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "STALE_ETAG"));
    client.delete_prompt_set(delete(&created.etag)).await.unwrap();
    let gone = client.delete_prompt_set(delete("")).await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone).as_str()), (Code::NotFound, "PROMPT_SET_NOT_FOUND"));
    let unknown = server.detector().await.detect_anomaly(against("nut", grey(1))).await.unwrap_err();
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::NotFound, "PROMPT_SET_NOT_FOUND"));
}

#[tokio::test]
async fn what_cannot_be_a_prompt_set_is_refused_and_leaves_nothing() {
    let (server, hand) = Server::start().await;
    let mut client = server.prompt_sets().await;
    let mut broken = inline(&[1, 2]);
    broken.normal_images[1] = crate::stage::encoded(b"no image");
    let cases = [
        (create("nut", inline(&[])), "prompts.normal_images"),
        (create("nut", inline(&[7; 17])), "prompts.normal_images"),
        (create("a/b", inline(&[1])), "prompt_set_id"),
        (create("../up", inline(&[1])), "prompt_set_id"),
        (create("", inline(&[1])), "prompt_set_id"),
        (create("nut", broken), "prompts.normal_images[1]"),
    ];
    for (request, field) in cases {
        let refused = client.create_prompt_set(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        let fields = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, field, "{refused:?}");
    }
    let bad_name = GetPromptSetRequest { name: "promptSets/a/b".to_owned() };
    assert_eq!(client.get_prompt_set(bad_name).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(hand.seen().encoded, 0);
    let kept = std::fs::read_dir(server.folder.path().join("state/prompt-sets")).unwrap().count();
    assert_eq!(kept, 0, "nothing half-written may stay");
}
