//! The document splitter: bytes → documents of YAML or JSON, and the items of a `kind: List`.
//!
//! Invariant: every document is returned, or the file is refused as a whole; nothing is silently dropped.

use headgate_contract::ConfigError;
use serde_json::Value;

use super::source_text::{SourceText, restore_source_texts};
use super::yaml::options;

/// One object of a file.
pub(crate) struct Document {
    /// The number of the document, from 1; `None` if the file has only one.
    pub(crate) number: Option<usize>,
    /// The path of the object in its document: empty, or `items[3]`.
    pub(crate) prefix: String,
    pub(crate) value: Value,
    /// The source texts of values that the parser changes.
    pub(crate) written: SourceText,
}

/// The objects of a file, in order. `json`: whether the extension of the file is `.json`.
pub(crate) fn split(bytes: &[u8], json: bool) -> Result<Vec<Document>, ConfigError> {
    let (mut values, text) = if json {
        (read_json(bytes)?, None)
    } else {
        read_yaml(bytes)?
    };
    let text = text
        .as_deref()
        .or_else(|| std::str::from_utf8(bytes).ok())
        .unwrap_or_default();
    let mut written = restore_source_texts(text, &mut values).into_iter();
    let several = values.len() > 1;
    let mut documents = Vec::new();
    for (i, value) in values.into_iter().enumerate() {
        let document = Document {
            number: several.then_some(i + 1),
            prefix: String::new(),
            value,
            written: written.next().unwrap_or_default(),
        };
        flatten(document, &mut documents);
    }
    Ok(documents)
}

fn read_json(bytes: &[u8]) -> Result<Vec<Value>, ConfigError> {
    serde_json::Deserializer::from_slice(bytes)
        .into_iter::<Value>()
        .collect::<Result<_, _>>()
        .map_err(|e| ConfigError::new(".", format!("is not JSON: {e}")))
}

/// The values, and the text that they were read from if it differs from the input.
fn read_yaml(bytes: &[u8]) -> Result<(Vec<Value>, Option<String>), ConfigError> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let message = format!("is not UTF-8 after byte {}", e.valid_up_to());
        ConfigError::new(".", message)
    })?;
    match parse_yaml(text) {
        Ok(values) => Ok((values, None)),
        Err(refusal) => {
            let separated = separate(text).ok_or_else(|| refusal.clone())?;
            let values = parse_yaml(&separated).map_err(|_| refusal)?;
            Ok((values, Some(separated)))
        }
    }
}

fn parse_yaml(text: &str) -> Result<Vec<Value>, ConfigError> {
    serde_saphyr::from_multiple_with_options(text, options(text))
        .map_err(|e| ConfigError::new(".", format!("is not YAML: {e}")))
}

/// Adds separators to the output of `kubectl label --local -o yaml`, which writes objects without separators; each begins with
/// `apiVersion:` in the first column. `None` if the text needs no separator.
fn separate(text: &str) -> Option<String> {
    let mut separated = String::with_capacity(text.len() + 64);
    let (mut begun, mut found) = (false, false);
    for line in text.split_inclusive('\n') {
        if line.starts_with("---") {
            begun = false;
        } else if line.starts_with("apiVersion:") {
            if begun {
                separated.push_str("---\n");
                found = true;
            }
            begun = true;
        }
        separated.push_str(line);
    }
    found.then_some(separated)
}

/// Replaces a `List` of any kind by its items. A kind that ends with `List` and has no items is an object like others.
fn flatten(document: Document, into: &mut Vec<Document>) {
    let kind = document.value.get("kind").and_then(Value::as_str);
    let list = kind.is_some_and(|k| k.ends_with("List")) && document.value["items"].is_array();
    if !list {
        return into.push(document);
    }
    let Value::Object(mut object) = document.value else {
        return;
    };
    let mut written = document.written.items().into_iter();
    if let Some(Value::Array(items)) = object.remove("items") {
        for (i, item) in items.into_iter().enumerate() {
            let at = if document.prefix.is_empty() {
                format!("items[{i}]")
            } else {
                format!("{}.items[{i}]", document.prefix)
            };
            let item = Document {
                number: document.number,
                prefix: at,
                value: item,
                written: written.next().unwrap_or_default(),
            };
            flatten(item, into);
        }
    }
}
