//! The lower bound of our filter's cost: a module that makes the same hostcalls and decides nothing.

use std::path::{Path, PathBuf};

use crate::error::BenchError;

const MODULE: &str = include_str!("floor.wat");

/// Compiles the module and writes it to a file.
///
/// # Errors
/// [`BenchError::Floor`], [`BenchError::Files`].
pub(crate) fn write(dir: &Path) -> Result<PathBuf, BenchError> {
    let path = dir.join("floor.wasm");
    let module = wat::parse_str(MODULE)?;
    std::fs::write(&path, module).map_err(BenchError::Files)?;
    Ok(path)
}
