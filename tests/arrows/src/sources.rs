//! The text files of the repository, as git lists them, and a search in them.

use std::path::PathBuf;
use std::process::Command;

use crate::workspace::root;

/// One line of a file.
#[derive(Debug)]
pub struct Line {
    /// Path from the root of the repository.
    pub file: PathBuf,
    /// Counted from 1.
    pub number: usize,
    /// Without its line break.
    pub text: String,
}

/// Every line of every tracked text file, and of files that are about to be: not ignored by git.
/// Files that cargo writes itself are left out.
///
/// # Errors
/// The output of git, or the file that could not be read.
pub fn lines() -> Result<Vec<Line>, String> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "-z",
        ])
        .current_dir(root())
        .output()
        .map_err(|error| format!("git does not start: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = Vec::new();
    for name in names
        .split('\0')
        .filter(|name| !name.is_empty() && !name.ends_with("Cargo.lock"))
    {
        lines.extend(lines_of(PathBuf::from(name))?);
    }
    Ok(lines)
}

/// Empty for a file that does not exist or is not text.
fn lines_of(file: PathBuf) -> Result<Vec<Line>, String> {
    let bytes = match std::fs::read(root().join(&file)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    let text = String::from_utf8(bytes).unwrap_or_default();
    let numbered = text.lines().zip(1..);
    Ok(numbered
        .map(|(text, number)| Line {
            file: file.clone(),
            number,
            text: text.to_owned(),
        })
        .collect())
}

/// Whether `text` holds `path` where an absolute path begins: at the start, or after a character that
/// cannot be inside a longer path or a URL.
pub fn names_absolute(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| {
            c.is_alphanumeric()
                || matches!(c, '_' | '-' | '.' | '/' | '}' | ')' | '*' | '~' | '<' | '>')
        })
    })
}
