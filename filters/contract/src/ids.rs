//! Validated names: model ids, versions, names of buckets, headers and objects.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names;

/// Why a name is invalid, with the characters that are allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a valid {what}: write {rule}")]
pub struct InvalidId {
    value: String,
    what: &'static str,
    rule: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $pattern:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(value: String) -> Result<Self, InvalidId> {
                if $check(&value) {
                    Ok(Self(value))
                } else {
                    Err(InvalidId { value, what: $what, rule: $rule })
                }
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidId;
            fn try_from(value: &str) -> Result<Self, InvalidId> {
                Self::try_from(value.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

id!(
    /// A model's id: the value of its `model-name` label. Case-sensitive.
    ModelId,
    "model id",
    "a Kubernetes label value: 1-63 letters, digits, '-', '_' or '.', starting and ending with a letter or digit",
    "^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$",
    label_value
);
id!(
    /// One released build of a model: the value of its `model-version` label. Case-sensitive.
    Version,
    "model version",
    "a Kubernetes label value: 1-63 letters, digits, '-', '_' or '.', starting and ending with a letter or digit",
    "^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$",
    label_value
);
id!(
    /// The name of a bucket within its policy.
    BucketName,
    "bucket name",
    "a DNS label: 1-63 lower-case letters, digits or '-', starting and ending with a letter or digit",
    "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    dns_label
);
id!(
    /// The name of a tag rule within its policy.
    RuleName,
    "rule name",
    "a DNS label: 1-63 lower-case letters, digits or '-', starting and ending with a letter or digit",
    "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    dns_label
);
id!(
    /// A header name, in lower case as HTTP/2 and Envoy write it.
    HeaderName,
    "header name",
    "1-128 lower-case letters, digits, '-' or '_'",
    "^[a-z0-9_-]{1,128}$",
    header_name
);

id!(
    /// The name of a Kubernetes object.
    ObjectName,
    "object name",
    "a DNS subdomain: 1-253 lower-case letters, digits, '-' or '.', starting and ending with a letter or digit",
    "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
    dns_subdomain
);

fn ends_alphanumeric(s: &str) -> bool {
    let b = s.as_bytes();
    matches!((b.first(), b.last()), (Some(f), Some(l)) if f.is_ascii_alphanumeric() && l.is_ascii_alphanumeric())
}

/// Checks that a tag may be made of this header: not of a tag's own header, whose value from a client is ignored.
pub(crate) fn not_a_tag(name: HeaderName) -> Result<HeaderName, String> {
    if name.as_str().starts_with(names::TAG_HEADER_PREFIX) {
        return Err(format!(
            "{:?} is a tag's own header, and its value from a client is ignored: name the header that clients send",
            name.as_str()
        ));
    }
    Ok(name)
}

fn label_value(s: &str) -> bool {
    s.len() <= 63
        && ends_alphanumeric(s)
        && s.bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

fn dns_label(s: &str) -> bool {
    s.len() <= 63
        && ends_alphanumeric(s)
        && s.bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}

fn dns_subdomain(s: &str) -> bool {
    s.len() <= 253
        && ends_alphanumeric(s)
        && s.bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.'))
}

fn header_name(s: &str) -> bool {
    (1..=128).contains(&s.len())
        && s.bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_'))
}
