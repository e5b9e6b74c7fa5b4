//! The S3 server: installed on first use, on a free port, gone when the trials are.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use inctrl_storage::{Store, StoreOptions};

const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/s3/install");
const SERVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/s3/serve.py");

/// A running server. It ends when its standard input does, so it cannot outlive this process, however that ends.
pub(crate) struct S3Server {
    _process: Child,
    address: SocketAddr,
    buckets: AtomicU32,
}

impl S3Server {
    /// Whether it can be had: installed before, or with a Python at hand.
    pub(crate) fn is_at_hand() -> Result<(), String> {
        let output = Command::new(INSTALL).arg("--check").output().map_err(|error| error.to_string())?;
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(()) } else { Err(reason) }
    }

    /// Installs it where that has not been done, and starts it.
    pub(crate) fn start() -> Self {
        let installed = Command::new(INSTALL).stderr(Stdio::inherit()).output().unwrap();
        assert!(installed.status.success(), "storage/tests/s3/install must install the server");
        let python = String::from_utf8(installed.stdout).unwrap();
        let mut process = Command::new(python.trim())
            .arg(SERVE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut port).unwrap();
        let port = port.trim().parse().expect("the server must print its port");
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Self { _process: process, address, buckets: AtomicU32::new(0) }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a bucket and answers its name.
    pub(crate) fn bucket(&self) -> String {
        let name = format!("bucket-{}", self.buckets.fetch_add(1, Ordering::Relaxed));
        let mut connection = TcpStream::connect(self.address).unwrap();
        let request = format!("PUT /{name} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n");
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.lines().next().is_some_and(|status| status.contains(" 200 ")), "{answer}");
        name
    }

    /// A store below `uri`, reached at `address`: the server's own, or that of something in front of it.
    pub(crate) fn store(uri: &str, address: SocketAddr) -> Store {
        let options = StoreOptions {
            // What fails here fails for good.
            retry_timeout: std::time::Duration::from_millis(1),
            ..StoreOptions::anonymous()
        };
        let settings = [
            ("AWS_ENDPOINT_URL", format!("http://{address}")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "id".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "key".to_owned()),
        ];
        let options = options.with_settings(settings.map(|(key, value)| (key.to_owned(), value)));
        Store::open(&uri.parse().unwrap(), &options).unwrap()
    }
}
