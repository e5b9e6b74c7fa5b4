//! Readiness probes: by HTTP, TCP and command.

use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPHeader};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::files::Waiting;
use crate::tether::{self, Tethered};

/// Looks sooner than a kubelet, which looks every second at most: tests wait for it.
const FASTEST: Duration = Duration::from_millis(100);

/// What to look at, and how often.
#[derive(Debug)]
pub(super) struct Probe {
    look: Look,
    every: Duration,
    within: Duration,
}

#[derive(Debug)]
enum Look {
    Http { host: String, port: u16, path: String, headers: Vec<HTTPHeader> },
    Tcp { host: String, port: u16 },
    Command(Vec<String>),
}

impl Probe {
    /// The readiness probe of a container, if it has one.
    pub(super) fn readiness(container: &Container, address: &str) -> Result<Option<Self>, Waiting> {
        let Some(probe) = &container.readiness_probe else { return Ok(None) };
        let at = |host: Option<&String>| host.map_or(address, String::as_str).to_owned();
        let look = if let Some(http) = &probe.http_get
            && http.scheme.as_deref() != Some("HTTPS")
        {
            let path = http.path.clone().unwrap_or_else(|| "/".to_owned());
            let headers = http.http_headers.clone().unwrap_or_default();
            Look::Http { host: at(http.host.as_ref()), port: number(container, &http.port)?, path, headers }
        } else if let Some(tcp) = &probe.tcp_socket {
            Look::Tcp { host: at(tcp.host.as_ref()), port: number(container, &tcp.port)? }
        } else if let Some(exec) = &probe.exec {
            Look::Command(exec.command.clone().unwrap_or_default())
        } else {
            return Err(Waiting::config("a readiness probe of a kind that this node does not know"));
        };
        let seconds = |value: Option<i32>| value.and_then(|value| u64::try_from(value).ok());
        let every = if seconds(probe.period_seconds).unwrap_or(10) <= 1 { FASTEST } else { FASTEST * 5 };
        let within = Duration::from_secs(seconds(probe.timeout_seconds).unwrap_or(1).max(1));
        Ok(Some(Self { look, every, within }))
    }

    /// Returns once what it sees is no longer `is_ready`.
    pub(super) async fn changed(&self, is_ready: bool) {
        loop {
            let sees = timeout(self.within, self.look.check()).await.unwrap_or(false);
            if sees != is_ready {
                return;
            }
            sleep(self.every).await;
        }
    }
}

impl Look {
    async fn check(&self) -> bool {
        match self {
            Self::Http { host, port, path, headers } => {
                get(host, *port, path, headers).await.is_ok_and(|status| (200..400).contains(&status))
            }
            Self::Tcp { host, port } => TcpStream::connect((host.as_str(), *port)).await.is_ok(),
            Self::Command(command) => {
                let Some((program, arguments)) = command.split_first() else { return false };
                let mut command = tether::command(program);
                command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
                let Ok(mut program) = Tethered::spawn(&mut command) else { return false };
                program.wait().await.is_ok_and(|status| status.success())
            }
        }
    }
}

/// Status of a plain request.
async fn get(host: &str, port: u16, path: &str, headers: &[HTTPHeader]) -> std::io::Result<u16> {
    let mut connection = TcpStream::connect((host, port)).await?;
    let headers =
        headers.iter().fold(String::new(), |all, header| all + &header.name + ": " + &header.value + "\r\n");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.take(64).read_to_string(&mut answer).await?;
    Ok(answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0))
}

fn number(container: &Container, port: &IntOrString) -> Result<u16, Waiting> {
    let found = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            ports.find(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port)
        }
    };
    let number = found.and_then(|number| u16::try_from(number).ok());
    number.ok_or_else(|| Waiting::config(format!("a probe names port {port:?}, which the container lacks")))
}
