//! Bytes → documents: YAML with several documents, JSON, and `kind: List`.
//!
//! Invariant: every document comes out, or the file is refused as a whole; nothing is silently cut off.

use headgate_contract::ConfigError;
use serde_json::Value;

/// One object of a file.
pub(crate) struct Document {
    /// Which document, from 1; `None` where the file holds one.
    pub(crate) number: Option<usize>,
    /// Where the object stands in its document: empty, or `items[3]`.
    pub(crate) prefix: String,
    pub(crate) value: Value,
}

/// The objects of a file, in order. `json`: by the file's ending.
pub(crate) fn split(bytes: &[u8], json: bool) -> Result<Vec<Document>, ConfigError> {
    let values = if json {
        read_json(bytes)
    } else {
        read_yaml(bytes)
    }?;
    let several = values.len() > 1;
    let mut documents = Vec::new();
    for (i, value) in values.into_iter().enumerate() {
        flatten(
            several.then_some(i + 1),
            String::new(),
            value,
            &mut documents,
        );
    }
    Ok(documents)
}

fn read_json(bytes: &[u8]) -> Result<Vec<Value>, ConfigError> {
    serde_json::Deserializer::from_slice(bytes)
        .into_iter::<Value>()
        .collect::<Result<_, _>>()
        .map_err(|e| ConfigError::new(".", format!("is not JSON: {e}")))
}

fn read_yaml(bytes: &[u8]) -> Result<Vec<Value>, ConfigError> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let message = format!("is not UTF-8 after byte {}", e.valid_up_to());
        ConfigError::new(".", message)
    })?;
    parse_yaml(text).or_else(|refusal| {
        let separated = separate(text).ok_or_else(|| refusal.clone())?;
        parse_yaml(&separated).map_err(|_| refusal)
    })
}

fn parse_yaml(text: &str) -> Result<Vec<Value>, ConfigError> {
    let options = serde_saphyr::Options {
        with_snippet: false,
        // A fleet's `kubectl get -o yaml` is one file; depth is what recursion must be kept from.
        budget: Some(serde_saphyr::Budget {
            max_events: 20_000_000,
            max_nodes: 10_000_000,
            max_documents: 100_000,
            max_depth: 100,
            ..serde_saphyr::Budget::default()
        }),
        ..serde_saphyr::Options::default()
    };
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|e| ConfigError::new(".", format!("is not YAML: {e}")))
}

/// `kubectl label --local -o yaml` writes the objects of a file with several one after the other, with nothing
/// between them; each begins with `apiVersion:` in the first column. `None`: this text is not of that kind.
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

/// A `List`, of any kind, is its items. A kind that only ends so, and has none, is an object like others.
fn flatten(number: Option<usize>, prefix: String, value: Value, into: &mut Vec<Document>) {
    let kind = value.get("kind").and_then(Value::as_str);
    let list = kind.is_some_and(|k| k.ends_with("List")) && value["items"].is_array();
    match value {
        Value::Object(mut object) if list => {
            if let Some(Value::Array(items)) = object.remove("items") {
                for (i, item) in items.into_iter().enumerate() {
                    let at = if prefix.is_empty() {
                        format!("items[{i}]")
                    } else {
                        format!("{prefix}.items[{i}]")
                    };
                    flatten(number, at, item, into);
                }
            }
        }
        value => into.push(Document {
            number,
            prefix,
            value,
        }),
    }
}
