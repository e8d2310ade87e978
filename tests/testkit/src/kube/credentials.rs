//! Credentials of a test API: a certificate authority made for one run, and the identities that it signs.
//!
//! Invariant: keys stay in the directory of their API server and are worthless once it is removed. The administrator is a client
//! certificate (common name: the user, organisation: the group); every other user is a ServiceAccount with a token that the
//! API server issued.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};

use super::KubeError;

/// Name of cluster and context in every kubeconfig.
const CONTEXT: &str = "headgate";
/// The administrator's user name.
const ADMIN: &str = "kubernetes-admin";
const ADMINS: &str = "system:masters";

/// The certificate authority of one API server, and the directory of the files that it signed.
#[derive(Debug)]
pub(super) struct CertificateAuthority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl CertificateAuthority {
    /// A new authority that keeps its files in the existing directory `dir`.
    pub(super) fn new(dir: &Path) -> Result<Self, KubeError> {
        let subject = "headgate test authority";
        let failed = failed(subject);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().map_err(&failed)?;
        let certificate = params.self_signed(&key).map_err(&failed)?;
        let authority = Self {
            dir: dir.to_owned(),
            issuer: Issuer::new(params, key),
        };
        write(&authority.certificate(), &certificate.pem())?;
        Ok(authority)
    }

    /// The authority's own certificate.
    pub(super) fn certificate(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// The certificate of a server at an address.
    pub(super) fn server(&self, name: &str, addr: IpAddr) -> Result<Identity, KubeError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::IpAddress(addr)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(name, params)
    }

    /// The key pair that signs ServiceAccount tokens.
    pub(super) fn token_keys(&self) -> Result<Identity, KubeError> {
        let key = KeyPair::generate().map_err(failed("ServiceAccount tokens"))?;
        let files = Identity {
            certificate: self.dir.join("tokens.pub"),
            key: self.dir.join("tokens.key"),
        };
        write(&files.certificate, &key.public_key_pem())?;
        write(&files.key, &key.serialize_pem())?;
        Ok(files)
    }

    /// Writes the administrator's kubeconfig for the API at `url` and returns its path.
    pub(super) fn admin(&self, url: &str) -> Result<PathBuf, KubeError> {
        let mut params = CertificateParams::default();
        let subject = &mut params.distinguished_name;
        subject.push(DnType::CommonName, ADMIN);
        subject.push(DnType::OrganizationName, ADMINS);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let identity = self.sign("admin", params)?;
        let user = json!({"client-certificate": identity.certificate, "client-key": identity.key});
        self.kubeconfig("admin", url, "default", &user)
    }

    /// Writes the kubeconfig of a ServiceAccount with `token` and returns its path.
    pub(super) fn bearer(
        &self,
        namespace: &str,
        name: &str,
        token: &str,
        url: &str,
    ) -> Result<PathBuf, KubeError> {
        let file = format!("{namespace}.{name}");
        self.kubeconfig(&file, url, namespace, &json!({ "token": token }))
    }

    /// Writes a kubeconfig without credentials, for a proxy at `url` that has its own, and returns its path.
    pub(super) fn anonymous(&self, url: &str) -> Result<PathBuf, KubeError> {
        let file = url.replace([':', '/'], "_");
        self.kubeconfig(&file, url, "default", &json!({}))
    }

    fn kubeconfig(
        &self,
        file: &str,
        url: &str,
        namespace: &str,
        user: &Value,
    ) -> Result<PathBuf, KubeError> {
        let context = json!({"cluster": CONTEXT, "user": file, "namespace": namespace});
        let cluster = json!({"server": url, "certificate-authority": self.certificate()});
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": CONTEXT,
            "contexts": [{"name": CONTEXT, "context": context}],
            "clusters": [{"name": CONTEXT, "cluster": cluster}],
            "users": [{"name": file, "user": user}],
        });
        let path = self.dir.join(format!("{file}.kubeconfig"));
        write(&path, &format!("{config:#}\n"))?;
        Ok(path)
    }

    fn sign(&self, file: &str, params: CertificateParams) -> Result<Identity, KubeError> {
        let failed = failed(file);
        let key = KeyPair::generate().map_err(&failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(&failed)?;
        let files = Identity {
            certificate: self.dir.join(format!("{file}.crt")),
            key: self.dir.join(format!("{file}.key")),
        };
        write(&files.certificate, &certificate.pem())?;
        write(&files.key, &key.serialize_pem())?;
        Ok(files)
    }
}

fn failed(subject: &str) -> impl Fn(rcgen::Error) -> KubeError {
    let subject = subject.to_owned();
    move |source| KubeError::Certificate {
        subject: subject.clone(),
        source,
    }
}

/// Only the owner can read the file, from its first byte on.
fn write(path: &Path, text: &str) -> Result<(), KubeError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| KubeError::Files {
            path: path.to_owned(),
            source,
        })
}
