//! `grpc_health_probe`, as orchestrators run it.

use std::process::Output;

use crate::stage::{go_tools, own_server, server};

/// Its exit codes.
const HEALTHY: Option<i32> = Some(0);
const CALL_FAILED: Option<i32> = Some(3);
const UNHEALTHY: Option<i32> = Some(4);

pub(crate) fn knows_ready_live_and_unknown() {
    let address = server();
    for service in ["", "liveness", "startup", "inctrl.v1.AnomalyDetectionService"] {
        let answer = probe(&address, service);
        assert_eq!(answer.status.code(), HEALTHY, "{service:?}: {answer:?}");
        assert!(String::from_utf8_lossy(&answer.stderr).contains("status: SERVING"), "{answer:?}");
    }
    let unknown = probe(&address, "unheard-of");
    assert_eq!(unknown.status.code(), CALL_FAILED, "{unknown:?}");
}

pub(crate) fn sees_a_draining_server_as_not_ready() {
    // It goes on serving for a long time after it was asked to stop: time enough to be seen.
    let server = own_server(&["--drain-delay", "120s"]);
    let address = server.address().to_string();
    assert_eq!(probe(&address, "").status.code(), HEALTHY);
    server.terminate().unwrap();
    let seen = std::iter::repeat_with(|| probe(&address, "").status.code()).find(|&code| code != HEALTHY);
    assert_eq!(seen, Some(UNHEALTHY), "it must say that it is not ready before it closes its port");
    assert_eq!(probe(&address, "liveness").status.code(), HEALTHY, "draining is no reason to be restarted");
}

fn probe(address: &str, service: &str) -> Output {
    go_tools().grpc_health_probe().args(["-addr", address, "-service", service]).output().unwrap()
}
