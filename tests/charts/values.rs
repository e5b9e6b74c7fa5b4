//! Values: those that work pass the linter, those that mean nothing are refused by name.

use serde_json::{Value, json};

use crate::stage::{CHART, helm, refusal, success, value_files, values_flag};

pub(crate) async fn the_linter_finds_nothing() {
    let home = tempfile::tempdir().unwrap();
    for file in value_files() {
        let mut lint = helm(home.path());
        lint.args(["lint", "--strict", CHART]).args(values_flag(file.as_deref()));
        let said = success(&mut lint);
        assert!(said.contains("0 chart(s) failed") && !said.contains("[WARNING]"), "{said}");
    }
}

pub(crate) async fn the_scoring_port_is_called_plain_text_only_where_it_is() {
    let home = tempfile::tempdir().unwrap();
    for (set, plain) in [("server.tlsSecret=", true), ("server.tlsSecret=serving-tls", false)] {
        let show = ["template", "r", CHART, "--show-only", "templates/server/service.yaml", "--set", set];
        let rendered = success(helm(home.path()).args(show));
        assert!(rendered.contains("targetPort: grpc"), "{rendered}");
        assert_eq!(rendered.contains("kubernetes.io/h2c"), plain, "{set}: {rendered}");
    }
}

pub(crate) async fn what_means_nothing_is_refused_and_named() {
    let home = tempfile::tempdir().unwrap();
    let refused: [(Value, &[&str]); 9] = [
        (json!({ "serverr": {} }), &["serverr"]),
        (json!({ "operator": { "replica": 1 } }), &["operator", "replica"]),
        (json!({ "operator": { "watchNamespace": ["a", "b"] } }), &["operator", "watchNamespace"]),
        (json!({ "operator": { "resync": "soon" } }), &["operator", "resync"]),
        (json!({ "operator": { "image": { "digest": "latest" } } }), &["image", "digest"]),
        (json!({ "server": { "listen": { "grpc": 80 } } }), &["listen", "grpc"]),
        (json!({ "server": { "backbone": "backbones/clip" } }), &["server", "backbone"]),
        // Two servers would write to one folder.
        (json!({ "server": { "stateClaim": "state", "replicas": 2 } }), &["server", "replicas"]),
        (
            json!({ "adminTls": { "serverSecret": "mine" } }),
            &["adminTls.serverSecret", "adminTls.operatorSecret"],
        ),
    ];
    for (values, words) in refused {
        let file = home.path().join("values.json");
        std::fs::write(&file, values.to_string()).unwrap();
        let said = refusal(helm(home.path()).args(["template", "r", CHART, "--values"]).arg(&file));
        for word in words {
            assert!(said.contains(word), "{values} must be refused with {word}, but: {said}");
        }
    }
}
