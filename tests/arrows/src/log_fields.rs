//! The names of the fields of log lines and spans: as the code writes them, and as a table of the documentation lists them.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::sources::Line;

/// Macros of `tracing` that log a line or open a span.
const MACROS: [&str; 10] = [
    "error",
    "warn",
    "info",
    "debug",
    "trace",
    "error_span",
    "warn_span",
    "info_span",
    "debug_span",
    "level",
];

/// The fields of each call in a source file: `tracing::warn!(error, "…")` → `error`.
///
/// # Errors
/// The text is not Rust.
pub fn logged(text: &str) -> Result<Vec<Vec<String>>, String> {
    let tokens: TokenStream = text.parse().map_err(|error| format!("{error}"))?;
    let mut all = Vec::new();
    collect(tokens, &mut all);
    Ok(all)
}

/// Adds the fields of each macro call, also in the arguments of other macros.
fn collect(tokens: TokenStream, all: &mut Vec<Vec<String>>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else {
            continue;
        };
        if group.delimiter() == Delimiter::Parenthesis && is_call(&tokens[..at]) {
            all.push(fields(group.stream()));
        }
        collect(group.stream(), all);
    }
}

/// Whether the tokens end with `tracing::warn!`, or with `tracing::$level!` in a macro by example.
fn is_call(before: &[TokenTree]) -> bool {
    let text: Vec<String> = before
        .iter()
        .rev()
        .take(6)
        .map(ToString::to_string)
        .collect();
    let mut words = text.iter().map(String::as_str);
    if words.next() != Some("!") || !words.next().is_some_and(|name| MACROS.contains(&name)) {
        return false;
    }
    let mut rest = words.filter(|word| *word != "$" && *word != ":");
    rest.next() == Some("tracing")
}

/// The names in the arguments: `name`, `%name`, `a.name`, `name = value`. Not the message, nor `parent: span`.
fn fields(arguments: TokenStream) -> Vec<String> {
    let mut parts: Vec<Vec<String>> = vec![Vec::new()];
    for token in arguments {
        let text = token.to_string();
        match parts.last_mut() {
            Some(part) if text != "," => part.push(text),
            _ => parts.push(Vec::new()),
        }
    }
    parts.iter().filter_map(|part| field(part)).collect()
}

fn field(part: &[String]) -> Option<String> {
    let is_name = |word: &&String| word.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let assigned = part.iter().position(|word| word == "=");
    match assigned {
        Some(at) => Some(part[..at].concat()),
        None if part.iter().any(|word| word == ":" || word == "$") => None,
        None => part.iter().rfind(is_name).cloned(),
    }
}

/// The names in the first column of the first table below this heading of a Markdown page.
#[must_use]
pub fn documented(page: &[Line], heading: &str) -> BTreeSet<String> {
    let lines = page.iter().map(|line| line.text.as_str());
    let table = lines
        .skip_while(|line| *line != heading)
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    let cells = table.filter_map(|row| row.split('|').nth(1));
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted.map(str::to_owned).collect()
}

/// All logged fields of the files below this directory that end in `.rs`, each with a file that logs it.
///
/// # Errors
/// A file that cannot be read as Rust, or a call with two fields of one name.
pub fn logged_below(all: &[Line], directory: &str) -> Result<BTreeMap<String, String>, String> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for line in all {
        let name = line.file.display().to_string();
        let is_source = name.starts_with(directory) && name.contains("/src/");
        if is_source && name.ends_with(".rs") {
            let text = files.entry(name).or_default();
            text.push_str(&line.text);
            text.push('\n');
        }
    }
    let mut found = BTreeMap::new();
    for (name, text) in files {
        for fields in logged(&text).map_err(|error| format!("{name}: {error}"))? {
            let unique: BTreeSet<&String> = fields.iter().collect();
            if unique.len() < fields.len() {
                return Err(format!("{name}: two fields of one name: {fields:?}"));
            }
            found.extend(fields.into_iter().map(|field| (field, name.clone())));
        }
    }
    Ok(found)
}
