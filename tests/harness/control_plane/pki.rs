//! Throw-away certificates, service-account keys and kubeconfigs.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use super::{ControlPlaneError, io};

/// Who the API server is to its clients; 10.0.0.1 is the first address of the service range.
const SERVER_NAMES: [&str; 6] =
    ["127.0.0.1", "10.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];

/// File stem, common name and group of each client.
const CLIENTS: [(&str, &str, Option<&str>); 3] = [
    ("admin", "admin", Some("system:masters")),
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
];

/// A folder of certificates, keys and kubeconfigs.
#[derive(Debug)]
pub(super) struct Pki {
    directory: PathBuf,
}

impl Pki {
    /// Makes an authority, the server's certificate, one of each client and the service-account key.
    pub(super) fn create(parent: &Path, api_server: u16) -> Result<Self, ControlPlaneError> {
        let pki = Self { directory: parent.join("pki") };
        std::fs::create_dir(&pki.directory).map_err(io("making the folder of certificates"))?;
        let authority = authority()?;
        pki.write("ca.crt", &authority.pem())?;

        let mut server = CertificateParams::new(SERVER_NAMES.map(str::to_owned))?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        pki.issue("apiserver", &server, &authority)?;

        for (stem, name, group) in CLIENTS {
            let mut client = CertificateParams::default();
            client.distinguished_name.push(DnType::CommonName, name);
            if let Some(group) = group {
                client.distinguished_name.push(DnType::OrganizationName, group);
            }
            client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            pki.issue(stem, &client, &authority)?;
            pki.write(&format!("{stem}.kubeconfig"), &pki.kubeconfig_text(stem, api_server))?;
        }

        let accounts = KeyPair::generate()?;
        pki.write("service-accounts.key", &accounts.serialize_pem())?;
        pki.write("service-accounts.pub", &accounts.public_key_pem())?;
        Ok(pki)
    }

    /// Path of a file, as text for a flag.
    pub(super) fn file(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// Path of a client's kubeconfig.
    pub(super) fn kubeconfig(&self, stem: &str) -> PathBuf {
        self.directory.join(format!("{stem}.kubeconfig"))
    }

    /// Writes the kubeconfig of a service account.
    pub(super) fn account_kubeconfig(
        &self,
        namespace: &str,
        account: &str,
        token: &str,
        api_server: u16,
    ) -> Result<PathBuf, ControlPlaneError> {
        let stem = format!("account-{namespace}-{account}");
        let user = serde_json::json!({ "token": token });
        self.write(&format!("{stem}.kubeconfig"), &self.kubeconfig_of(&stem, &user, api_server))?;
        Ok(self.kubeconfig(&stem))
    }

    fn issue(
        &self,
        stem: &str,
        params: &CertificateParams,
        authority: &CertifiedIssuer<'_, KeyPair>,
    ) -> Result<(), ControlPlaneError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, authority)?;
        self.write(&format!("{stem}.crt"), &certificate.pem())?;
        self.write(&format!("{stem}.key"), &key.serialize_pem())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), ControlPlaneError> {
        std::fs::write(self.directory.join(name), text).map_err(io(&format!("writing {name}")))
    }

    fn kubeconfig_text(&self, stem: &str, api_server: u16) -> String {
        let [certificate, key] = ["crt", "key"].map(|kind| self.file(&format!("{stem}.{kind}")));
        let user = serde_json::json!({ "client-certificate": certificate, "client-key": key });
        self.kubeconfig_of(stem, &user, api_server)
    }

    fn kubeconfig_of(&self, name: &str, user: &serde_json::Value, api_server: u16) -> String {
        serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{api_server}"), "certificate-authority": self.file("ca.crt"),
            }}],
            "users": [{ "name": name, "user": user }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": name }}],
            "current-context": "test",
        })
        .to_string()
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "throw-away authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}
