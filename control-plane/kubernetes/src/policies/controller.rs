//! The controller name of an installation, and the part of a status that it writes. Several installations can serve one cluster.
//!
//! Invariant: each installation owns a part of the status as a field manager of server-side apply; no other one writes that part.

use std::fmt;
use std::str::FromStr;

use headgate_contract::names::DEFAULT_CONTROLLER_NAME;
use headgate_contract::{Condition, ControllerStatus, PolicyStatus};
use serde_json::Value;

use crate::conditions;

/// Field manager of the installation with the default name, and prefix of the others.
const MANAGER: &str = "headgate-status";
/// Longest name, in bytes: a field manager, which contains it, has at most 128.
const LONGEST: usize = 128 - MANAGER.len() - 1;

/// The controller name of an installation, shared by all its replicas: a domain and a path, as in Gateway API's `controllerName`. The
/// installation with the default name owns `status.conditions`, any other one its entry of `status.controllers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller(String);

impl Default for Controller {
    fn default() -> Self {
        Self(DEFAULT_CONTROLLER_NAME.to_owned())
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a controller name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a controller name: write a domain and a path of at most {LONGEST} characters, such as {DEFAULT_CONTROLLER_NAME}"
)]
pub struct InvalidController(String);

impl FromStr for Controller {
    type Err = InvalidController;

    fn from_str(text: &str) -> Result<Self, InvalidController> {
        let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let label = |label: &str| {
            let ends = [label.bytes().next(), label.bytes().last()];
            ends.iter().all(|c| c.is_some_and(alphanumeric))
                && label.bytes().all(|c| alphanumeric(c) || c == b'-')
        };
        let in_path = |c: u8| c.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&c);
        let sound = text.split_once('/').is_some_and(|(domain, path)| {
            domain.split('.').all(label) && !path.is_empty() && path.bytes().all(in_path)
        });
        if sound && text.len() <= LONGEST {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidController(text.to_owned()))
        }
    }
}

impl Controller {
    fn is_default(&self) -> bool {
        self.0 == DEFAULT_CONTROLLER_NAME
    }

    /// The field manager of its writes.
    pub fn manager(&self) -> String {
        if self.is_default() {
            MANAGER.to_owned()
        } else {
            format!("{MANAGER}-{self}")
        }
    }

    /// Its conditions in the JSON of an object, without those that cannot be read.
    pub(super) fn conditions(&self, object: &Value) -> Vec<Condition> {
        let own = self.own_part(object);
        own.and_then(|list| conditions::read(list).ok())
            .unwrap_or_default()
    }

    fn own_part<'o>(&self, object: &'o Value) -> Option<&'o Value> {
        if self.is_default() {
            return object.pointer("/status/conditions");
        }
        let entries = object.pointer("/status/controllers")?.as_array()?;
        let own = |entry: &&Value| {
            entry.get("controllerName").and_then(Value::as_str) == Some(self.0.as_str())
        };
        entries.iter().find(own)?.get("conditions")
    }

    /// A status with these conditions and no field of other owners.
    pub fn status(&self, conditions: Vec<Condition>) -> PolicyStatus {
        if self.is_default() {
            return PolicyStatus {
                conditions,
                controllers: Vec::new(),
            };
        }
        let own = ControllerStatus {
            controller_name: self.0.clone(),
            conditions,
        };
        PolicyStatus {
            conditions: Vec::new(),
            controllers: vec![own],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_name_is_a_domain_and_a_path() {
        for name in [
            DEFAULT_CONTROLLER_NAME,
            "a/b",
            "blue.example.com/headgate/2",
            "x-1.io/A_b~",
        ] {
            let read = name.parse::<Controller>();
            assert_eq!(read.map(|read| read.to_string()), Ok(name.to_owned()));
        }
        let long = format!("a.example/{}", "x".repeat(LONGEST));
        for name in [
            "",
            "headgate",
            "a/",
            "/b",
            "A.example/b",
            "-a/b",
            "a..b/c",
            "a/b c",
            "a/b\n",
            long.as_str(),
        ] {
            let refused = name.parse::<Controller>().map_err(|why| why.to_string());
            assert!(
                refused.is_err_and(|why| why.contains("such as headgate.dev/headgate")),
                "{name:?}"
            );
        }
        let longest = "a.example/".to_owned() + &"x".repeat(LONGEST - 10);
        let manager = longest
            .parse::<Controller>()
            .map(|read| read.manager().len());
        assert_eq!(manager, Ok(128));
    }
}
