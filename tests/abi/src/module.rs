//! The `.wasm` files: imports, exports and sizes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use wasmparser::{Parser, Payload};

/// The modules that ship.
pub const MODULES: [&str; 3] = ["traffic-tag", "token-bucket", "headgate"];

/// The path of a module.
///
/// # Panics
/// If it has not been built.
#[must_use]
pub fn path(module: &str) -> PathBuf {
    let dist = std::env::var_os("HEADGATE_WASM").map_or_else(
        || {
            [env!("CARGO_MANIFEST_DIR"), "..", "..", "dist"]
                .iter()
                .collect()
        },
        PathBuf::from,
    );
    let path = dist.join(format!("{module}.wasm"));
    let path = path.canonicalize();
    path.unwrap_or_else(|error| {
        panic!(
            "{}/{module}.wasm: {error}; run make wasm first",
            dist.display()
        )
    })
}

/// The imports, exports and size of a module.
#[derive(Debug, Default)]
pub struct Anatomy {
    /// `module.function` of each import.
    pub imports: BTreeSet<String>,
    /// Names of the exported functions.
    pub exports: BTreeSet<String>,
    /// The file's size in bytes.
    pub size: usize,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Reads a module.
///
/// # Panics
/// If it has not been built or is not a wasm module.
#[must_use]
pub fn anatomy(module: &str) -> Anatomy {
    let bytes = std::fs::read(path(module)).expect("a readable module");
    let mut anatomy = Anatomy {
        size: bytes.len(),
        ..Anatomy::default()
    };
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload.expect("a well-formed module") {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.expect("a well-formed import");
                    anatomy
                        .imports
                        .insert(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    anatomy
                        .exports
                        .insert(export.expect("a well-formed export").name.to_owned());
                }
            }
            _ => {}
        }
    }
    anatomy.bytes = bytes;
    anatomy
}
