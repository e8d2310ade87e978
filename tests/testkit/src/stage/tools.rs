//! Where the product is: its binary, its wasm module, its shipped configuration.
//!
//! Invariant: what is missing is named together with the command that makes it.

use std::path::{Path, PathBuf};

use super::StageError;

/// The file by which a checkout is recognised.
const MARK: &str = "envoy-config/bootstrap.yaml";

/// The checkout: the nearest directory above the running package, the working directory or the program itself that
/// holds `envoy-config/bootstrap.yaml`. Asked at run time, since checkouts may share a target directory.
///
/// # Errors
/// [`StageError::Missing`].
pub fn checkout() -> Result<PathBuf, StageError> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let working = std::env::current_dir().ok();
    [package, working, std::env::current_exe().ok()]
        .iter()
        .flatten()
        .flat_map(|start| start.ancestors())
        .find(|dir| dir.join(MARK).is_file())
        .map(Path::to_path_buf)
        .ok_or_else(|| StageError::Missing {
            what: format!("a checkout (a directory with {MARK})"),
            fix: "run this inside the repository".into(),
        })
}

/// The `headgate` binary: what `HEADGATE_BIN` names, else the one beside this program in cargo's target directory.
///
/// # Errors
/// [`StageError::Missing`].
pub fn headgate_binary() -> Result<PathBuf, StageError> {
    let fix =
        "run `cargo build -p headgate` with the same profile, or name the binary in HEADGATE_BIN";
    if let Some(named) = std::env::var_os("HEADGATE_BIN").map(PathBuf::from) {
        return existing(named, fix);
    }
    let this = std::env::current_exe().unwrap_or_default();
    // Tests lie in `deps`, one below the programs.
    let beside = this.ancestors().skip(1).take(2);
    let found = beside
        .map(|dir| dir.join("headgate"))
        .find(|file| file.is_file());
    found.ok_or_else(|| StageError::Missing {
        what: format!("the binary `headgate` beside {}", this.display()),
        fix: fix.into(),
    })
}

/// The wasm module: in the directory that `HEADGATE_WASM` names, else in the checkout's `dist`.
///
/// # Errors
/// [`StageError::Missing`].
pub fn wasm_module() -> Result<PathBuf, StageError> {
    let dir = match std::env::var_os("HEADGATE_WASM") {
        Some(dir) => PathBuf::from(dir),
        None => checkout()?.join("dist"),
    };
    existing(
        dir.join("headgate.wasm"),
        "run `make wasm`, or name its directory in HEADGATE_WASM",
    )
}

fn existing(file: PathBuf, fix: &str) -> Result<PathBuf, StageError> {
    if file.is_file() {
        return Ok(file);
    }
    Err(StageError::Missing {
        what: file.display().to_string(),
        fix: fix.into(),
    })
}
