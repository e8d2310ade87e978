//! The artifact of one module: configuration, layer and manifest, and the manifest of its SBOM.

use std::collections::HashMap;
use std::io::Write as _;

use flate2::{Compression, GzBuilder};
use oci_spec::image::{
    Arch, ConfigBuilder, ImageConfigurationBuilder, ImageManifest, ImageManifestBuilder, MediaType,
    Os, RootFsBuilder, SCHEMA_VERSION,
};

use crate::Failure;
use crate::blob::{Blob, sha256};

/// The name of the module in the layer, which the format prescribes.
pub const MODULE_FILE: &str = "plugin.wasm";

/// The media type of an SBOM.
const CYCLONEDX: &str = "application/vnd.cyclonedx+json";

/// What the annotations say of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its name, such as `headgate`.
    pub name: String,
    /// The version of the workspace.
    pub version: String,
    /// The commit that it was built from, or `unknown`.
    pub revision: String,
    /// An SPDX expression.
    pub licences: String,
    /// The URL of the sources.
    pub source: String,
}

/// All blobs of a module. A registry gets them in this order: content before what refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The name of the module.
    pub name: String,
    /// The version, which becomes the tag.
    pub version: String,
    /// Configuration, layer and SBOM.
    pub content: Vec<Blob>,
    /// The manifest of the module.
    pub manifest: Blob,
    /// The manifest of its SBOM, whose `subject` is the module.
    pub sbom: Blob,
}

/// Packs a module and its SBOM (CycloneDX JSON).
///
/// # Errors
/// The bytes are not a WebAssembly module.
pub fn artifact(
    module: &[u8],
    sbom: Vec<u8>,
    description: &Description,
) -> Result<Artifact, Failure> {
    if !module.starts_with(b"\0asm") {
        return Err(format!("{}: not a WebAssembly module", description.name).into());
    }
    let annotations = annotations(module, description);
    let tar = tar(module)?;
    let config = config(&tar, &annotations)?;
    let layer = Blob::new(MediaType::ImageLayerGzip, gzip(&tar)?);
    let manifest = manifest(
        ImageManifestBuilder::default()
            .config(config.descriptor()?)
            .layers([layer.descriptor()?])
            .annotations(annotations),
    )?;
    let sbom = Blob::new(MediaType::Other(CYCLONEDX.to_owned()), sbom);
    let empty = Blob::new(MediaType::EmptyJSON, b"{}".to_vec());
    let reference = self::manifest(
        ImageManifestBuilder::default()
            .artifact_type(sbom.media_type.clone())
            .config(empty.descriptor()?)
            .layers([sbom.descriptor()?])
            .subject(manifest.descriptor()?),
    )?;
    Ok(Artifact {
        name: description.name.clone(),
        version: description.version.clone(),
        content: vec![config, layer, sbom, empty],
        manifest,
        sbom: reference,
    })
}

fn annotations(module: &[u8], description: &Description) -> HashMap<String, String> {
    let Description {
        name,
        version,
        revision,
        licences,
        source,
    } = description;
    let image = |key: &str| format!("org.opencontainers.image.{key}");
    HashMap::from([
        (image("title"), name.clone()),
        (image("version"), version.clone()),
        (image("revision"), revision.clone()),
        (image("licenses"), licences.clone()),
        (image("source"), source.clone()),
        // The digest that `sha256` of a WasmPlugin is not: that one is the artifact's.
        ("dev.headgate.module.sha256".to_owned(), sha256(module)),
    ])
}

/// The configuration. Its platform is what containerd and Docker know for modules.
fn config(tar: &[u8], labels: &HashMap<String, String>) -> Result<Blob, Failure> {
    let rootfs = RootFsBuilder::default()
        .typ("layers")
        .diff_ids([format!("sha256:{}", sha256(tar))])
        .build()?;
    let config = ImageConfigurationBuilder::default()
        .architecture(Arch::Wasm)
        .os(Os::Other("wasip1".to_owned()))
        .config(ConfigBuilder::default().labels(labels.clone()).build()?)
        .rootfs(rootfs)
        .history([])
        .build()?;
    Ok(Blob::new(MediaType::ImageConfig, sorted(&config)?))
}

fn manifest(builder: ImageManifestBuilder) -> Result<Blob, Failure> {
    let manifest: ImageManifest = builder
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .build()?;
    Ok(Blob::new(MediaType::ImageManifest, sorted(&manifest)?))
}

/// JSON whose keys have one order: the maps of the library have none.
pub(crate) fn sorted(document: &impl serde::Serialize) -> Result<Vec<u8>, Failure> {
    let mut value = serde_json::to_value(document)?;
    value.sort_all_objects();
    Ok(serde_json::to_vec(&value)?)
}

fn tar(module: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut header = tar::Header::new_ustar();
    header.set_size(module.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, MODULE_FILE, module)?;
    Ok(archive.into_inner()?)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    // The operating system would be in the header otherwise.
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}
