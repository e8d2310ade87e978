//! An OCI image layout: a directory that tools such as skopeo, oras and crane copy from.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use oci_spec::image::{Descriptor, ImageIndexBuilder, MediaType, OciLayoutBuilder, SCHEMA_VERSION};

use crate::artifact::sorted;
use crate::{Artifact, Blob, Failure};

/// Writes the directory anew. The manifests have the names `NAME:VERSION`.
///
/// # Errors
/// The directory cannot be written.
pub fn write_layout(directory: &Path, artifacts: &[Artifact]) -> Result<(), Failure> {
    let new = directory.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    let blobs = new.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let mut manifests = Vec::new();
    for artifact in artifacts {
        let all = artifact.content.iter();
        for blob in all.chain([&artifact.manifest, &artifact.sbom]) {
            fs::write(
                blobs.join(blob.digest.trim_start_matches("sha256:")),
                &blob.bytes,
            )?;
        }
        let name = format!("{}:{}", artifact.name, artifact.version);
        manifests.push(named(&artifact.manifest, &name)?);
        manifests.push(artifact.sbom.descriptor()?);
    }
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
        .build()?;
    fs::write(new.join("index.json"), sorted(&index)?)?;
    let layout = OciLayoutBuilder::default()
        .image_layout_version("1.0.0")
        .build()?;
    fs::write(new.join("oci-layout"), serde_json::to_vec(&layout)?)?;
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::rename(new, directory)?;
    Ok(())
}

fn named(manifest: &Blob, name: &str) -> Result<Descriptor, Failure> {
    let mut descriptor = manifest.descriptor()?;
    let key = "org.opencontainers.image.ref.name".to_owned();
    descriptor.set_annotations(Some(HashMap::from([(key, name.to_owned())])));
    Ok(descriptor)
}
