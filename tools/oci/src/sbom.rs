//! The SBOM of a module: CycloneDX, from the crates that cargo links into it.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, Node, Package, PackageId};
use cyclonedx_bom::external_models::normalized_string::NormalizedString;
use cyclonedx_bom::external_models::spdx::SpdxExpression;
use cyclonedx_bom::external_models::uri::Purl;
use cyclonedx_bom::models::component::{Classification, Component, Components};
use cyclonedx_bom::models::dependency::{Dependencies, Dependency};
use cyclonedx_bom::models::hash::{Hash, HashAlgorithm, HashValue, Hashes};
use cyclonedx_bom::models::license::{LicenseChoice, Licenses};
use cyclonedx_bom::models::metadata::Metadata as BomMetadata;
use cyclonedx_bom::prelude::Bom;

use crate::Failure;
use crate::blob::sha256;

/// The SBOM of the module that the package `module-NAME` becomes, as CycloneDX 1.5 JSON without a time and a serial number.
///
/// # Errors
/// `metadata` has no such package, or has no resolved dependencies.
pub fn sbom(metadata: &Metadata, name: &str, module: &[u8]) -> Result<Vec<u8>, Failure> {
    let resolve = metadata
        .resolve
        .as_ref()
        .ok_or("cargo metadata has no dependencies")?;
    let nodes: BTreeMap<&PackageId, &Node> = resolve.nodes.iter().map(|n| (&n.id, n)).collect();
    let package = format!("module-{name}");
    let root = metadata
        .packages
        .iter()
        .find(|p| p.name.as_str() == package);
    let root = root.ok_or_else(|| format!("the workspace has no package {package}"))?;
    let mut linked = BTreeSet::new();
    let mut open = vec![&root.id];
    while let Some(id) = open.pop() {
        if linked.insert(id) {
            open.extend(links(nodes[id]));
        }
    }
    let mut packages: Vec<&Package> = linked.iter().map(|id| &metadata[*id]).collect();
    packages.sort_by_key(|package| reference(package));
    let mut main = component(root)?;
    main.component_type = Classification::Library;
    main.name = NormalizedString::new(name);
    main.hashes = Some(Hashes(vec![Hash {
        alg: HashAlgorithm::SHA_256,
        content: HashValue(sha256(module)),
    }]));
    let others = packages.iter().filter(|package| package.id != root.id);
    let components: Result<Vec<Component>, Failure> = others.map(|p| component(p)).collect();
    let dependencies = packages.iter().map(|package| {
        let mut of: Vec<String> = links(nodes[&package.id])
            .map(|id| reference(&metadata[id]))
            .collect();
        of.sort();
        Dependency {
            dependency_ref: reference(package),
            dependencies: of,
        }
    });
    let bom = Bom {
        // A new one for each build would make equal modules unequal.
        serial_number: None,
        metadata: Some(BomMetadata {
            component: Some(main),
            ..BomMetadata::default()
        }),
        components: Some(Components(components?)),
        dependencies: Some(Dependencies(dependencies.collect())),
        ..Bom::default()
    };
    let mut json = Vec::new();
    bom.output_as_json_v1_5(&mut json)?;
    Ok(json)
}

/// What is linked into a crate: neither build scripts nor tests.
fn links(node: &Node) -> impl Iterator<Item = &PackageId> {
    let normal = node.deps.iter().filter(|dep| {
        let mut kinds = dep.dep_kinds.iter();
        kinds.any(|kind| kind.kind == DependencyKind::Normal)
    });
    normal.map(|dep| &dep.pkg)
}

/// Its key in the document: the same on every machine.
fn reference(package: &Package) -> String {
    format!("{}@{}", package.name, package.version)
}

fn component(package: &Package) -> Result<Component, Failure> {
    let version = package.version.to_string();
    let mut component = Component::new(
        Classification::Library,
        &package.name,
        &version,
        Some(reference(package)),
    );
    if package.source.is_some() {
        component.purl = Some(Purl::new("cargo", &package.name, &version)?);
    }
    if let Some(licence) = &package.license {
        // Old crates separate alternatives by a slash.
        let licence = SpdxExpression::new(&licence.replace('/', " OR "));
        component.licenses = Some(Licenses(vec![LicenseChoice::Expression(licence)]));
    }
    component.description = package.description.as_deref().map(NormalizedString::new);
    Ok(component)
}
