//! The wasm module for the proxies: a file with its SHA-256 in its name, or its bytes.
//!
//! Envoy loads a module again only if its path changes, so a new module gets a new name. The named copy is in the directory of the
//! original, or already on the proxies. Old copies stay, because a proxy may still load one.
//!
//! While serving, [`watch`] detects that the module was replaced.

mod completeness;
mod watch;

use std::path::{Path, PathBuf};

use headgate_translate::Code;
use sha2::{Digest, Sha256};

pub(crate) use watch::ModuleWatcher;

use crate::config::ModuleDelivery;

/// The file name without its extension. One module serves as every filter: the configuration names its stages.
const NAME: &str = "headgate";

/// Why the module cannot be offered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModuleError {
    /// The module is missing or unreadable.
    #[error("--wasm: cannot read {}: {source}. Run `make wasm`, or name the directory that holds it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a module.
    #[error("--wasm: {} is not a WebAssembly module", path.display())]
    NotWasm {
        /// The file.
        path: PathBuf,
    },
    /// The file ends too early, or is damaged.
    #[error("--wasm: {} is truncated: {why}; write to a temporary file and rename it", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The problem with it.
        why: String,
    },
    /// The named copy cannot be written.
    #[error("--wasm: cannot write {}: {source}. Make the directory writable, or use --wasm-inline or --wasm-proxy-path", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// An empty module, for commands that need no code.
pub(crate) fn without_code() -> Code {
    Code::Inline(b"".as_slice().into())
}

/// The path of the module in `dir`.
fn path_in(dir: &Path) -> PathBuf {
    dir.join(format!("{NAME}.wasm"))
}

/// Offers the module of `dir`.
///
/// # Errors
/// [`ModuleError`], naming the file and the fix.
pub(crate) fn offer(dir: &Path, delivery: &ModuleDelivery) -> Result<Code, ModuleError> {
    let path = path_in(dir);
    let read = |source| ModuleError::Read {
        path: path.clone(),
        source,
    };
    let bytes = std::fs::read(&path).map_err(read)?;
    if !bytes.starts_with(b"\0asm") {
        return Err(ModuleError::NotWasm { path });
    }
    if let Err(why) = completeness::check(&bytes) {
        return Err(ModuleError::Truncated { path, why });
    }
    if *delivery == ModuleDelivery::Inline {
        return Ok(Code::Inline(bytes.into()));
    }
    let name = format!("{NAME}-{}.wasm", sha256(&bytes));
    if let ModuleDelivery::ProxyDirectory(dir) = delivery {
        return Ok(Code::File(format!("{dir}/{name}")));
    }
    let dir = dir.canonicalize().map_err(read)?;
    let named = dir.join(name);
    if !named.exists() {
        write(&named, &bytes).map_err(|source| ModuleError::Write {
            path: named.clone(),
            source,
        })?;
    }
    Ok(Code::File(named.to_string_lossy().into_owned()))
}

/// The SHA-256 of bytes, in lower-case hex.
fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the file atomically, because a proxy may load it as soon as it has its name.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension(format!("part-{}", std::process::id()));
    std::fs::write(&part, bytes)?;
    std::fs::rename(&part, path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn dir_with(content: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path_in(dir.path()), content).unwrap();
        dir
    }

    #[test]
    fn rule_09_a_module_file_has_its_sha_256_in_its_name_so_a_new_module_has_a_new_path() {
        let (one, two) = (completeness::module(b"one"), completeness::module(b"two"));
        let dir = dir_with(&one);
        let first = offer(dir.path(), &ModuleDelivery::SharedDirectory).unwrap();
        assert_eq!(
            offer(dir.path(), &ModuleDelivery::SharedDirectory).unwrap(),
            first
        );
        std::fs::write(dir.path().join("headgate.wasm"), &two).unwrap();
        let second = offer(dir.path(), &ModuleDelivery::SharedDirectory).unwrap();
        assert_ne!(second, first);
        let (Code::File(first), Code::File(second)) = (first, second) else {
            unreachable!()
        };
        for (path, bytes) in [(&first, &one), (&second, &two)] {
            let sha = sha256(bytes);
            assert!(path.ends_with(&format!("/headgate-{sha}.wasm")), "{path}");
        }
        assert_eq!(std::fs::read(first).unwrap(), one);
        assert_eq!(std::fs::read(second).unwrap(), two);
    }

    #[test]
    fn a_module_that_proxies_have_is_named_by_their_path_and_nothing_is_written() {
        let bytes = completeness::module(b"one");
        let dir = dir_with(&bytes);
        let delivery = ModuleDelivery::ProxyDirectory("/etc/headgate/wasm".to_owned());
        let sha = sha256(&bytes);
        assert_eq!(
            offer(dir.path(), &delivery).unwrap(),
            Code::File(format!("/etc/headgate/wasm/headgate-{sha}.wasm"))
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_not_a_module_is_refused_by_name() {
        let dir = dir_with(b"<html>");
        let error = offer(dir.path(), &ModuleDelivery::SharedDirectory)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("headgate.wasm is not a WebAssembly module"),
            "{error}"
        );
        let missing = offer(Path::new("/nowhere"), &ModuleDelivery::SharedDirectory)
            .unwrap_err()
            .to_string();
        assert!(missing.contains("make wasm"), "{missing}");
    }
}
