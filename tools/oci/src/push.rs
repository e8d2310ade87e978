//! The push of artifacts to a registry.
//!
//! The SBOM is found by the referrers API; for registries without it, the tag `sha256-DIGEST` lists it, as the specification says.

use std::net::IpAddr;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use oci_spec::image::{ImageIndexBuilder, MediaType, SCHEMA_VERSION};

use crate::artifact::sorted;
use crate::{Artifact, Blob, Failure};

/// The account at a registry.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Its name.
    pub user: String,
    /// Its password or token.
    pub password: String,
}

/// What a registry has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// `REPOSITORY/NAME:VERSION`.
    pub reference: String,
    /// The digest of its manifest.
    pub digest: String,
}

/// Pushes artifacts to `REPOSITORY/NAME:VERSION`. A registry on loopback is spoken to in plain HTTP.
///
/// # Errors
/// The repository is no reference, or the registry refuses something.
pub async fn push(
    repository: &str,
    artifacts: &[Artifact],
    credentials: Option<&Credentials>,
) -> Result<Vec<Pushed>, Failure> {
    let auth = credentials.map_or(RegistryAuth::Anonymous, |c| {
        RegistryAuth::Basic(c.user.clone(), c.password.clone())
    });
    let mut pushed = Vec::new();
    for artifact in artifacts {
        let text = format!(
            "{}/{}:{}",
            repository.trim_end_matches('/'),
            artifact.name,
            artifact.version
        );
        let reference: Reference = text
            .parse()
            .map_err(|e| format!("{text}: {e}; write HOST[:PORT]/PATH as repository"))?;
        let client = client(reference.registry());
        let explain = |error: OciDistributionError| format!("{text}: {error}");
        client
            .auth(&reference, &auth, RegistryOperation::Push)
            .await
            .map_err(explain)?;
        for blob in &artifact.content {
            client
                .push_blob(&reference, blob.bytes.clone(), &blob.digest)
                .await
                .map_err(explain)?;
        }
        let referrers = referrers(artifact)?;
        let tag = artifact.manifest.digest.replace(':', "-");
        for (blob, at) in [
            (&artifact.manifest, reference.clone()),
            (&artifact.sbom, digest_of(&reference, &artifact.sbom)),
            (&referrers, tagged(&reference, &tag)),
        ] {
            let media_type = blob.media_type.to_string().parse()?;
            client
                .push_manifest_raw(&at, blob.bytes.clone(), media_type)
                .await
                .map_err(explain)?;
        }
        pushed.push(Pushed {
            reference: text,
            digest: artifact.manifest.digest.clone(),
        });
    }
    Ok(pushed)
}

fn client(registry: &str) -> Client {
    // The one provider of cryptography in the whole repository; an error says that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    Client::new(ClientConfig {
        protocol: if loopback {
            ClientProtocol::Http
        } else {
            ClientProtocol::Https
        },
        ..ClientConfig::default()
    })
}

fn digest_of(reference: &Reference, blob: &Blob) -> Reference {
    let (registry, repository) = (reference.registry(), reference.repository());
    Reference::with_digest(
        registry.to_owned(),
        repository.to_owned(),
        blob.digest.clone(),
    )
}

fn tagged(reference: &Reference, tag: &str) -> Reference {
    let (registry, repository) = (reference.registry(), reference.repository());
    Reference::with_tag(registry.to_owned(), repository.to_owned(), tag.to_owned())
}

/// The list of what refers to the module: its SBOM.
fn referrers(artifact: &Artifact) -> Result<Blob, Failure> {
    let mut sbom = artifact.sbom.descriptor()?;
    sbom.set_artifact_type(artifact.content.get(2).map(|blob| blob.media_type.clone()));
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests([sbom])
        .build()?;
    Ok(Blob::new(MediaType::ImageIndex, sorted(&index)?))
}
