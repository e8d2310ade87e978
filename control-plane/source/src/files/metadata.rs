//! `apiVersion`, `kind` and `metadata` of any object, checked as the API server would.

use std::collections::BTreeMap;

use headgate_contract::ConfigError;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::written::Texts;

/// Who an object is.
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
        written: &Texts,
        default_namespace: &str,
    ) -> Result<Self, ConfigError> {
        let meta = object.get("metadata").unwrap_or(&Value::Null);
        let namespace = match meta.get("namespace") {
            None | Some(Value::Null) => default_namespace.to_owned(),
            Some(value) => dns_name(value, "metadata.namespace", 63, false)?,
        };
        Ok(Self {
            api_version: required(object, "apiVersion")?,
            kind: kind(object)?,
            name: dns_name(
                meta.get("name").unwrap_or(&Value::Null),
                "metadata.name",
                253,
                true,
            )?,
            namespace,
            created: created(meta)?,
            generation: meta.get("generation").and_then(Value::as_i64).unwrap_or(0),
            labels: texts(meta, "labels", written)?,
            annotations: texts(meta, "annotations", written)?,
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

/// Names reach cluster names and bucket identities, so they hold no `/`.
fn dns_name(value: &Value, path: &str, longest: usize, dots: bool) -> Result<String, ConfigError> {
    let name = match value {
        Value::Null => return Err(ConfigError::new(path, "is missing: give the object a name")),
        value => text(value, path)?,
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
        Some(value) => text(value, path)?.parse::<Timestamp>().map(|t| Some(t.as_second())).map_err(|_| {
            ConfigError::new(path, format!("{value} is not a time: write it like \"2026-01-31T12:00:00Z\", or leave it out"))
        }),
    }
}

/// A map of text to text. Kubernetes refuses a number there, so it is refused here.
fn texts(
    meta: &Value,
    field: &str,
    written: &Texts,
) -> Result<BTreeMap<String, String>, ConfigError> {
    match meta.get(field) {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(key, value)| {
                Ok((
                    key.clone(),
                    text_of(value, written.of(field, key), &at(field, key))?,
                ))
            })
            .collect(),
        Some(_) => Err(ConfigError::new(
            format!("metadata.{field}"),
            "must be a map of text to text",
        )),
    }
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

fn text(value: &Value, path: &str) -> Result<String, ConfigError> {
    text_of(value, None, path)
}

/// A text; `written` is what the file has there, where that is known.
pub(crate) fn text_of(
    value: &Value,
    written: Option<&str>,
    path: &str,
) -> Result<String, ConfigError> {
    match (value, written) {
        (Value::String(text), _) => Ok(text.clone()),
        (Value::Number(_) | Value::Bool(_), Some(written)) => Err(ConfigError::new(
            path,
            format!("must be text: write \"{written}\", in quotes"),
        )),
        (Value::Number(_) | Value::Bool(_), None) => Err(ConfigError::new(
            path,
            format!("must be text: write \"{value}\", in quotes"),
        )),
        _ => Err(ConfigError::new(path, "must be text")),
    }
}
