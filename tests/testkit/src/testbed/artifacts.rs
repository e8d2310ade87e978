//! The built artifacts of the product: its binary, its wasm module, its shipped configuration.
//!
//! Invariant: the error for a missing artifact names the command that builds it.

use std::path::{Path, PathBuf};

use super::TestbedError;

/// The file that identifies a checkout.
const MARKER: &str = "envoy-config/bootstrap.yaml";

/// The checkout: the nearest directory above the running package, the working directory or the program itself that contains
/// `envoy-config/bootstrap.yaml`. Determined at run time, because checkouts may share a target directory.
///
/// # Errors
/// [`TestbedError::Missing`].
pub fn checkout() -> Result<PathBuf, TestbedError> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let working = std::env::current_dir().ok();
    [package, working, std::env::current_exe().ok()]
        .iter()
        .flatten()
        .flat_map(|start| start.ancestors())
        .find(|dir| dir.join(MARKER).is_file())
        .map(Path::to_path_buf)
        .ok_or_else(|| TestbedError::Missing {
            what: format!("a checkout (a directory with {MARKER})"),
            fix: "run this inside the repository".into(),
        })
}

/// The `headgate` binary: the value of `HEADGATE_BIN`, else the one next to this program in cargo's target directory.
///
/// # Errors
/// [`TestbedError::Missing`].
pub fn headgate_binary() -> Result<PathBuf, TestbedError> {
    let fix =
        "run `cargo build -p headgate` with the same profile, or name the binary in HEADGATE_BIN";
    if let Some(named) = std::env::var_os("HEADGATE_BIN").map(PathBuf::from) {
        return existing(named, fix);
    }
    beside("headgate", fix)
}

/// The `mock-model` binary, next to this program in cargo's target directory.
///
/// # Errors
/// [`TestbedError::Missing`].
pub fn mock_model_binary() -> Result<PathBuf, TestbedError> {
    beside(
        "mock-model",
        "run `cargo build -p headgate-testkit` with the same profile",
    )
}

/// The `headgate-oci` binary, which packs the modules, next to this program in cargo's target directory.
///
/// # Errors
/// [`TestbedError::Missing`].
pub fn packer_binary() -> Result<PathBuf, TestbedError> {
    beside(
        "headgate-oci",
        "run `cargo build -p headgate-oci` with the same profile",
    )
}

fn beside(name: &str, fix: &str) -> Result<PathBuf, TestbedError> {
    let this = std::env::current_exe().unwrap_or_default();
    // Tests are in `deps`, one level below the programs.
    let directories = this.ancestors().skip(1).take(2);
    let found = directories
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    found.ok_or_else(|| TestbedError::Missing {
        what: format!("the binary `{name}` next to {}", this.display()),
        fix: fix.into(),
    })
}

/// The wasm module: in the directory named by `HEADGATE_WASM`, else in the checkout's `dist`.
///
/// # Errors
/// [`TestbedError::Missing`].
pub fn wasm_module() -> Result<PathBuf, TestbedError> {
    let dir = match std::env::var_os("HEADGATE_WASM") {
        Some(dir) => PathBuf::from(dir),
        None => checkout()?.join("dist"),
    };
    existing(
        dir.join("headgate.wasm"),
        "run `make wasm`, or name its directory in HEADGATE_WASM",
    )
}

fn existing(file: PathBuf, fix: &str) -> Result<PathBuf, TestbedError> {
    if file.is_file() {
        return Ok(file);
    }
    Err(TestbedError::Missing {
        what: file.display().to_string(),
        fix: fix.into(),
    })
}
