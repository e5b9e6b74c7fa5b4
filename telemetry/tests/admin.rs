//! The admin endpoint as a probe and a scraper see it.
#![expect(clippy::unwrap_used, reason = "a helper of a test panics where it fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use inctrl_telemetry::prometheus_client::registry::Registry;
use inctrl_telemetry::{Admin, AdminError, BuildInfo, Probes, process};

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[test]
fn probes_say_what_is_wrong_and_metrics_are_open_metrics() {
    let ready = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&ready);
    let probes = Probes {
        live: Box::new(|| Ok(())),
        ready: Box::new(move || {
            if asked.load(Ordering::Relaxed) { Ok(()) } else { Err("loading the backbone".to_owned()) }
        }),
    };
    let mut registry = Registry::default();
    BuildInfo { program: "test", version: "1.2.3", revision: "abc" }.register(&mut registry);
    process::register(&mut registry);
    let admin = Admin::bind(any_port()).unwrap().serve(probes, registry).unwrap();

    assert!(get(admin.address(), "/livez").starts_with("HTTP/1.1 200"));
    let unready = get(admin.address(), "/readyz");
    assert!(unready.starts_with("HTTP/1.1 503") && unready.contains("loading the backbone"), "{unready}");
    ready.store(true, Ordering::Relaxed);
    assert!(get(admin.address(), "/readyz").starts_with("HTTP/1.1 200"));

    let metrics = get(admin.address(), "/metrics");
    assert!(metrics.contains("application/openmetrics-text"), "{metrics}");
    assert!(
        metrics.contains(r#"inctrl_build_info{program="test",version="1.2.3",revision="abc"} 1"#),
        "{metrics}"
    );
    assert!(metrics.contains("process_resident_memory_bytes "), "{metrics}");
    assert!(metrics.contains("process_cpu_seconds_total "), "{metrics}");
    assert!(metrics.trim_end().ends_with("# EOF"), "{metrics}");
}

#[test]
fn an_address_in_use_is_named() {
    let first = Admin::bind(any_port()).unwrap();
    let error = Admin::bind(first.address()).unwrap_err();
    assert!(matches!(error, AdminError::Listen { address, .. } if address == first.address()), "{error}");
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
}

#[test]
fn stopping_frees_the_address() {
    let probes = Probes { live: Box::new(|| Ok(())), ready: Box::new(|| Ok(())) };
    let admin = Admin::bind(any_port()).unwrap().serve(probes, Registry::default()).unwrap();
    let address = admin.address();
    let idle = TcpStream::connect(address).unwrap();
    drop(admin);
    drop(idle);
    Admin::bind(address).unwrap();
}
