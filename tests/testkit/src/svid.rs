//! Trust domains of SPIFFE, made for one test: authorities, X.509-SVIDs, and files as kubelet mounts them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// The authority of a trust domain.
#[derive(Debug)]
pub struct TrustDomainAuthority {
    domain: String,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: Vec<u8>,
}

/// What a certificate says.
#[derive(Debug, Clone, Default)]
pub struct SvidParams {
    /// URI subject alternative names.
    pub uris: Vec<String>,
    /// DNS subject alternative names.
    pub dns: Vec<String>,
    /// Begin and end of its validity; by default long.
    pub validity: Option<(SystemTime, SystemTime)>,
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub struct Svid {
    /// The certificate in PEM.
    pub pem: String,
    /// The private key in PEM.
    pub key_pem: String,
    /// The certificate in DER.
    pub der: Vec<u8>,
    /// The private key in DER (PKCS#8).
    pub key_der: Vec<u8>,
}

impl TrustDomainAuthority {
    /// A new authority of a trust domain, such as `a.test`.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(domain: &str) -> io::Result<Self> {
        let mut params = CertificateParams::default();
        let name = format!("authority of {domain}");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&format!("spiffe://{domain}"))?];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        Ok(Self {
            domain: domain.to_owned(),
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Its certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// A certificate for a path in its trust domain, such as `/ns/models/sa/gateway`, and for 127.0.0.1's name `headgate.test`.
    ///
    /// # Errors
    /// As [`Self::issue_with`].
    pub fn issue(&self, path: &str) -> io::Result<Svid> {
        self.issue_with(&SvidParams {
            uris: vec![format!("spiffe://{}{path}", self.domain)],
            dns: vec!["headgate.test".to_owned()],
            validity: None,
        })
    }

    /// A certificate that says this, whatever it is.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn issue_with(&self, svid: &SvidParams) -> io::Result<Svid> {
        let mut params = CertificateParams::new(svid.dns.clone()).map_err(io::Error::other)?;
        for name in &svid.uris {
            params.subject_alt_names.push(uri(name)?);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        // An authority and its successor have one name: the key identifier tells them apart.
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        if let Some((begin, end)) = svid.validity {
            params.not_before = begin.into();
            params.not_after = end.into();
        }
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(io::Error::other)?;
        Ok(Svid {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().to_vec(),
            key_der: key.serialize_der(),
        })
    }
}

fn uri(text: &str) -> io::Result<SanType> {
    let text = text.try_into().map_err(io::Error::other)?;
    Ok(SanType::URI(text))
}

/// A directory of files that kubelet mounts from a Secret: symbolic links into a directory that is swapped as a whole.
#[derive(Debug)]
pub struct SecretVolume {
    root: PathBuf,
    generation: u32,
}

impl SecretVolume {
    /// An empty volume at a path, which is created.
    ///
    /// # Errors
    /// When the directory cannot be created.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        std::fs::create_dir_all(&root)?;
        Ok(Self {
            root,
            generation: 0,
        })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Replaces all files at once.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&mut self, files: &[(&str, &str)]) -> io::Result<()> {
        self.generation += 1;
        let name = format!("..{}", self.generation);
        let directory = self.root.join(&name);
        std::fs::create_dir(&directory)?;
        for (file, content) in files {
            std::fs::write(directory.join(file), content)?;
        }
        let (scratch, data) = (self.root.join("..data_tmp"), self.root.join("..data"));
        std::os::unix::fs::symlink(&name, &scratch)?;
        std::fs::rename(&scratch, &data)?;
        for (file, _) in files {
            let link = self.root.join(file);
            if !link.is_symlink() {
                std::os::unix::fs::symlink(Path::new("..data").join(file), link)?;
            }
        }
        if self.generation > 1 {
            let old = self.root.join(format!("..{}", self.generation - 1));
            std::fs::remove_dir_all(old)?;
        }
        Ok(())
    }

    /// Replaces `tls.crt`, `tls.key` and `ca.crt`.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_tls(&mut self, svid: &Svid, authorities: &str) -> io::Result<()> {
        self.write(&[
            ("tls.crt", &svid.pem),
            ("tls.key", &svid.key_pem),
            ("ca.crt", authorities),
        ])
    }
}
