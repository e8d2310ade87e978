//! A schema as JSON, without annotations.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{COUNT_LIMITS, JSON_TYPES, NUMBER_LIMITS, RequestSchema};

impl Serialize for RequestSchema {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        let types = JSON_TYPES.into_iter().enumerate();
        let types: Vec<_> = types.filter(|(i, _)| self.types >> i & 1 == 1).collect();
        let types: Vec<&str> = types.into_iter().map(|(_, name)| name).collect();
        match &types[..] {
            [] => {}
            [one] => map.serialize_entry("type", one)?,
            several => map.serialize_entry("type", several)?,
        }
        match self.allowed.as_deref() {
            None => {}
            Some([one]) => map.serialize_entry("const", one)?,
            Some(several) => map.serialize_entry("enum", several)?,
        }
        for (keyword, limit) in NUMBER_LIMITS.iter().zip(&self.number_limits) {
            if let Some(limit) = limit {
                map.serialize_entry(keyword, limit)?;
            }
        }
        for (keyword, limit) in COUNT_LIMITS.iter().zip(&self.count_limits) {
            if let Some(limit) = limit {
                map.serialize_entry(keyword, limit)?;
            }
        }
        if let Some(items) = &self.items {
            map.serialize_entry("items", items)?;
        }
        if !self.properties.is_empty() {
            map.serialize_entry("properties", &Properties(&self.properties))?;
        }
        if !self.required.is_empty() {
            map.serialize_entry("required", &self.required)?;
        }
        if self.closed {
            map.serialize_entry("additionalProperties", &false)?;
        }
        map.end()
    }
}

struct Properties<'a>(&'a [(String, RequestSchema)]);

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().map(|(name, schema)| (name, schema)))
    }
}
