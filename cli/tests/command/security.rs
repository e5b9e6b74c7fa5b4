//! Certificates and tokens.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::fake::{Fake, State};
use crate::inctrl::{Images, run, run_on};

/// An authority that issues certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn server(&self, name: &str) -> ServerTlsConfig {
        let (certificate, key) = self.issue(name);
        ServerTlsConfig::new().identity(Identity::from_pem(certificate, key))
    }
}

#[test]
fn a_server_is_trusted_by_its_authority() {
    let authority = Authority::new();
    let fake = Fake::with_tls(authority.server("127.0.0.1"));
    let files = Images::new(&[("ca.pem", &authority.pem())]);
    let done = run_on(&fake, &["info", "--tls-ca", &files.text("ca.pem")]);
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn a_foreign_authority_is_refused_without_trying_again() {
    let fake = Fake::with_tls(Authority::new().server("127.0.0.1"));
    let files = Images::new(&[("ca.pem", &Authority::new().pem())]);
    let done = run_on(&fake, &["info", "--tls-ca", &files.text("ca.pem"), "--retry-for", "1h"]);
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains("do not trust each other's certificates"), "{}", done.stderr);
    assert!(done.stderr.contains("--tls-ca"), "{}", done.stderr);
}

#[test]
fn a_server_without_tls_is_told_apart_from_a_foreign_one() {
    let fake = Fake::start();
    let files = Images::new(&[("ca.pem", &Authority::new().pem())]);
    let url = fake.url().replace("http://", "https://");
    let done = run(&["info", "--server", &url, "--tls-ca", &files.text("ca.pem"), "--retry-for", "1h"]);
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains("does not speak TLS"), "{}", done.stderr);
    assert!(done.stderr.contains("write http://") && !done.stderr.contains("--tls-ca"), "{}", done.stderr);
}

#[test]
fn a_certificate_of_another_name_needs_that_name() {
    let authority = Authority::new();
    let fake = Fake::with_tls(authority.server("scoring.example"));
    let files = Images::new(&[("ca.pem", &authority.pem())]);
    let ca = files.text("ca.pem");
    assert_eq!(run_on(&fake, &["info", "--tls-ca", &ca, "--retry-for", "1h"]).code, 3);
    let done = run_on(&fake, &["info", "--tls-ca", &ca, "--tls-server-name", "scoring.example"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn a_server_may_ask_for_the_client_s_certificate() {
    let authority = Authority::new();
    let tls = authority.server("127.0.0.1").client_ca_root(Certificate::from_pem(authority.pem()));
    let fake = Fake::with_tls(tls);
    let (certificate, key) = authority.issue("client.example");
    let files =
        Images::new(&[("ca.pem", &authority.pem()), ("client.pem", &certificate), ("client.key", &key)]);
    let (ca, certificate, key) = (files.text("ca.pem"), files.text("client.pem"), files.text("client.key"));
    let bare = ["info", "--tls-ca", &ca];
    let identity = ["--tls-certificate", &certificate, "--tls-key", &key];
    let done = run_on(&fake, &[bare.as_slice(), &identity].concat());
    assert_eq!(done.code, 0, "{}", done.stderr);
    let refused = run_on(&fake, &[bare.as_slice(), &["--retry-for", "0s"]].concat());
    assert_eq!(refused.code, 3, "{}", refused.stderr);
}

#[test]
fn the_token_is_carried_and_asked_for() {
    let fake = Fake::with(State { token: Some("Bearer s3cret"), ..State::default() });
    let files = Images::new(&[("token", "s3cret\n"), ("1.png", "0.5")]);
    let (token, image) = (files.text("token"), files.text("1.png"));
    let done = run_on(&fake, &["score", &image, "--prompts", "nut", "--token-file", &token]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let refused = run_on(&fake, &["score", &image, "--prompts", "nut"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("hint: give the server's token with --token-file"), "{}", refused.stderr);
}
