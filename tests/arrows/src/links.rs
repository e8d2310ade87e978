//! Relative links in Markdown files, the headings that they may point to, and the paths of this repository that the text names.
//!
//! Fenced code blocks have none of these.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::sources::Line;
use crate::workspace::root;

/// A link or a path without a target, as `FILE:LINE: TARGET`.
pub type Broken = String;

/// The directories that begin a path of this repository.
const DIRECTORIES: [&str; 7] = [
    "filters/",
    "control-plane/",
    "tests/",
    "tools/",
    "envoy-config/",
    "istio-manifests/",
    "docs/",
];

/// The relative links whose file is missing, or whose heading is missing in a Markdown file.
#[must_use]
pub fn broken(lines: &[Line]) -> Vec<Broken> {
    let mut headings: BTreeMap<&Path, BTreeSet<String>> = BTreeMap::new();
    for line in text(lines) {
        let known = headings.entry(&line.file).or_default();
        if let Some(heading) = heading(&line.text) {
            known.insert(anchor(heading, known));
        }
    }
    let mut broken = Vec::new();
    for line in text(lines) {
        for target in targets(&line.text) {
            if !resolves(line, target, &headings) {
                broken.push(format!("{}:{}: {target}", line.file.display(), line.number));
            }
        }
    }
    broken
}

/// The paths in code spans that do not exist. A path with `<` or `*` is a pattern and not checked.
#[must_use]
pub fn missing_paths(lines: &[Line]) -> Vec<Broken> {
    let mut missing = Vec::new();
    for line in text(lines) {
        for path in line.text.split('`').skip(1).step_by(2) {
            let named = DIRECTORIES
                .iter()
                .any(|directory| path.starts_with(directory));
            let exact = !path.contains(['<', '*', ' ']);
            if named && exact && !root().join(path).exists() {
                missing.push(format!("{}:{}: {path}", line.file.display(), line.number));
            }
        }
    }
    missing
}

/// The lines of Markdown files outside of fenced code blocks.
fn text(lines: &[Line]) -> impl Iterator<Item = &Line> {
    let mut fenced = None;
    lines.iter().filter(move |line| {
        if line.file.extension().is_none_or(|e| e != "md") {
            return false;
        }
        if line.text.trim_start().starts_with("```") {
            fenced = match fenced {
                Some(file) if file == &line.file => None,
                _ => Some(&line.file),
            };
            return false;
        }
        fenced != Some(&line.file)
    })
}

/// The targets of the links in a line.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let after = text.split("](").skip(1);
    after.filter_map(|rest| Some(rest.split_once(')')?.0))
}

fn resolves(line: &Line, target: &str, headings: &BTreeMap<&Path, BTreeSet<String>>) -> bool {
    if target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let (path, expected) = match target.split_once('#') {
        Some((path, expected)) => (path, Some(expected)),
        None => (target, None),
    };
    let file = match path {
        "" => line.file.clone(),
        _ => plain(&line.file.with_file_name("").join(path)),
    };
    let Some(expected) = expected else {
        return root().join(file).exists();
    };
    let known = headings.get(file.as_path());
    known.is_some_and(|known| known.contains(expected))
}

/// The path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = plain.pop(),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

fn heading(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches('#');
    (rest.len() < text.len()).then(|| rest.strip_prefix(' '))?
}

/// The anchor of a heading, as GitHub and mdBook make it: lower case, words joined by `-`, nothing but letters and digits, and a
/// number where a page has the heading already.
fn anchor(heading: &str, known: &BTreeSet<String>) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    let first: String = kept.collect();
    let mut anchor = first.clone();
    let mut number = 0;
    while known.contains(&anchor) {
        number += 1;
        anchor = format!("{first}-{number}");
    }
    anchor
}
