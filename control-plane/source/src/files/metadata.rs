//! `apiVersion`, `kind` and `metadata` of any object, validated as by the API server.

use std::collections::BTreeMap;

use headgate_contract::ConfigError;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::pod_template::dotted;
use super::source_text::{SourceText, is_not_finite};

/// Identity, labels and annotations of an object.
pub(crate) struct Metadata {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Unix seconds.
    pub(crate) created: Option<i64>,
    pub(crate) generation: i64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Metadata {
    pub(crate) fn parse(
        object: &Value,
        written: &SourceText,
        default_namespace: &str,
    ) -> Result<Self, ConfigError> {
        let meta = object.get("metadata").unwrap_or(&Value::Null);
        let namespace = match meta.get("namespace") {
            None | Some(Value::Null) => default_namespace.to_owned(),
            Some(value) => {
                let written = written.of("/metadata", "namespace");
                dns_name(value, written, "metadata.namespace", 63, false)?
            }
        };
        Ok(Self {
            api_version: required(object, "apiVersion")?,
            kind: kind(object)?,
            name: dns_name(
                meta.get("name").unwrap_or(&Value::Null),
                written.of("/metadata", "name"),
                "metadata.name",
                253,
                true,
            )?,
            namespace,
            created: created(meta)?,
            generation: meta.get("generation").and_then(Value::as_i64).unwrap_or(0),
            labels: texts(object, "", "labels", written)?,
            annotations: texts(object, "", "annotations", written)?,
        })
    }
}

pub(crate) fn required(object: &Value, field: &str) -> Result<String, ConfigError> {
    match object.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        _ => Err(ConfigError::new(
            field,
            format!("is missing: every object needs `{field}`"),
        )),
    }
}

pub(crate) fn kind(object: &Value) -> Result<String, ConfigError> {
    let kind = required(object, "kind")?;
    if kind.len() <= 63 && kind.bytes().all(|c| c.is_ascii_alphanumeric()) {
        return Ok(kind);
    }
    Err(ConfigError::new(
        "kind",
        format!("{kind:?} is not a kind: write letters and digits, such as Deployment"),
    ))
}

/// A DNS name. Names become parts of cluster names and bucket identities, so they contain no `/`.
fn dns_name(
    value: &Value,
    written: Option<&str>,
    path: &str,
    longest: usize,
    dots: bool,
) -> Result<String, ConfigError> {
    let name = match value {
        Value::Null => return Err(ConfigError::new(path, "is missing: give the object a name")),
        value => text_of(value, written, path)?,
    };
    let allowed =
        |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || (dots && c == b'.');
    let ends = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    if bytes.len() <= longest
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|c| allowed(*c))
    {
        return Ok(name);
    }
    let message = format!(
        "{name:?} is not a Kubernetes name: write 1-{longest} lower-case letters, digits or '-'"
    );
    Err(ConfigError::new(path, message))
}

fn created(meta: &Value) -> Result<Option<i64>, ConfigError> {
    let path = "metadata.creationTimestamp";
    match meta.get("creationTimestamp") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => text_of(value, None, path)?.parse::<Timestamp>().map(|t| Some(t.as_second())).map_err(|_| {
            ConfigError::new(path, format!("{value} is not a time: write it like \"2026-01-31T12:00:00Z\", or leave it out"))
        }),
    }
}

/// The labels or annotations of the object, or of the pod template at a JSON pointer. A number is refused, as by Kubernetes; the error
/// names every one.
pub(crate) fn texts(
    object: &Value,
    pointer: &str,
    field: &str,
    written: &SourceText,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let map = format!("{pointer}/metadata/{field}");
    let prefix = match pointer {
        "" => String::new(),
        pointer => format!("{}.", dotted(pointer)),
    };
    let entries = match object.pointer(&map) {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(entries)) => entries,
        Some(_) => {
            let path = format!("{prefix}metadata.{field}");
            return Err(ConfigError::new(path, "must be a map of text to text"));
        }
    };
    let mut texts = BTreeMap::new();
    let mut faults: Vec<ConfigError> = Vec::new();
    for (key, value) in entries {
        let path = format!("{prefix}{}", at(field, key));
        match text_of(value, written.of(&map, key), &path) {
            Ok(text) => {
                texts.insert(key.clone(), text);
            }
            Err(fault) => faults.push(fault),
        }
    }
    let mut faults = faults.into_iter();
    let Some(mut first) = faults.next() else {
        return Ok(texts);
    };
    for more in faults {
        first.message = format!("{}; {}: {}", first.message, more.path, more.message);
    }
    Err(first)
}

/// The path of a label or annotation.
pub(crate) fn at(field: &str, key: &str) -> String {
    if key
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    {
        format!("metadata.{field}.{key}")
    } else {
        format!("metadata.{field}[{key:?}]")
    }
}

/// A text; `written` is its source text, if known.
fn text_of(value: &Value, written: Option<&str>, path: &str) -> Result<String, ConfigError> {
    let quote = |written: &str| {
        ConfigError::new(
            path,
            format!("must be text: write \"{written}\", in quotes"),
        )
    };
    match (value, written) {
        (Value::String(text), Some(written)) if is_not_finite(text, written) => Err(quote(written)),
        (Value::String(text), _) => Ok(text.clone()),
        (Value::Number(_) | Value::Bool(_), Some(written)) => Err(quote(written)),
        (Value::Number(_) | Value::Bool(_), None) => Err(quote(&value.to_string())),
        _ => Err(ConfigError::new(path, "must be text")),
    }
}
