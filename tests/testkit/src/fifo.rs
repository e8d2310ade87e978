//! Named pipes: files that block their reader.

use std::path::Path;
use std::process::Command;

/// Makes a named pipe.
///
/// # Panics
/// When it cannot be made.
#[allow(clippy::expect_used)]
pub fn make(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo starts").success(), "{}", path.display());
}
