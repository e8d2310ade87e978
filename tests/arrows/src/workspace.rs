//! The workspace read from `cargo metadata`: members, their direct dependencies, the closure of each.
//!
//! Invariant: `--locked`, so that a query never changes the lock file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// The root of the repository. The run-time value of cargo precedes: two checkouts with one target directory
/// share this binary, which may have been compiled in the other one.
pub fn root() -> PathBuf {
    let compiled = || env!("CARGO_MANIFEST_DIR").into();
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(compiled);
    PathBuf::from(package).join("..").join("..")
}

/// The kind of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Linked into what ships.
    Normal,
    /// Only for tests and examples.
    Dev,
    /// Only for build scripts.
    Build,
}

/// One line of a manifest's dependencies.
#[derive(Clone, Debug)]
pub struct Arrow {
    /// Name of the package at the head of the arrow.
    pub to: String,
    /// The kind of the dependency.
    pub kind: Kind,
    /// The version requirement as written (`^1`); `*` for a bare path.
    pub requirement: String,
}

/// A crate of this repository.
#[derive(Clone, Debug)]
pub struct Member {
    /// Package name.
    pub name: String,
    /// Its directory, from the root of the repository.
    pub path: PathBuf,
    /// Whether it is part of what ships: everything in `filters/` and `control-plane/`.
    pub ships: bool,
    /// Direct dependencies of every kind, optional ones included.
    pub arrows: Vec<Arrow>,
}

impl Member {
    /// Names of the direct dependencies of one kind.
    pub fn direct(&self, kind: Kind) -> BTreeSet<&str> {
        let of_kind = self.arrows.iter().filter(|arrow| arrow.kind == kind);
        of_kind.map(|arrow| arrow.to.as_str()).collect()
    }
}

/// All crates of this repository, by name.
pub type Workspace = BTreeMap<String, Member>;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    req: String,
}

/// Reads the workspace.
///
/// # Errors
/// The output of cargo, if it failed or answered something else than its documented format.
pub fn read() -> Result<Workspace, String> {
    let output = cargo(&["metadata", "--format-version=1", "--no-deps"])?;
    let metadata: Metadata = serde_json::from_str(&output).map_err(|error| error.to_string())?;
    let ours = |package: &Package| metadata.workspace_members.contains(&package.id);
    let members = metadata.packages.iter().filter(|package| ours(package));
    Ok(members
        .map(|package| {
            (
                package.name.clone(),
                member(package, &metadata.workspace_root),
            )
        })
        .collect())
}

/// Names of all packages that are linked into `package` for `target`, itself included: features as they
/// are when this package alone is built, which is how the modules are built.
///
/// # Errors
/// The output of cargo, if it failed.
pub fn closure(package: &str, target: &str) -> Result<BTreeSet<String>, String> {
    let tree = cargo(&[
        "tree",
        "--package",
        package,
        "--target",
        target,
        "--edges=normal",
        "--prefix=none",
        "--format={p}",
    ])?;
    let names = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}

fn member(package: &Package, root: &Path) -> Member {
    let arrows = package.dependencies.iter().map(|dependency| Arrow {
        to: dependency.name.clone(),
        kind: match dependency.kind.as_deref() {
            Some("dev") => Kind::Dev,
            Some("build") => Kind::Build,
            _ => Kind::Normal,
        },
        requirement: dependency.req.clone(),
    });
    Member {
        name: package.name.clone(),
        path: package
            .manifest_path
            .parent()
            .and_then(|directory| directory.strip_prefix(root).ok())
            .unwrap_or(root)
            .to_owned(),
        ships: ["filters", "control-plane"]
            .iter()
            .any(|half| package.manifest_path.starts_with(root.join(half))),
        arrows: arrows.collect(),
    }
}

fn cargo(arguments: &[&str]) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .arg("--locked")
        .current_dir(root())
        .output()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if output.status.success() {
        String::from_utf8(output.stdout).map_err(|error| error.to_string())
    } else {
        Err(format!(
            "cargo {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}
