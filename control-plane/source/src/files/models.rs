//! `ServedModel` manifests: spec and memory of each model.
//!
//! Invariant: the memory in the state directory takes precedence; a `spec` is never read from there.

use std::collections::BTreeMap;

use headgate_contract::ConfigError;
use headgate_model::{Memory, ModelRecord};
use serde_json::Value;

use super::metadata::Metadata;
use headgate_kubernetes::models::StoredModel;
use headgate_model::ModelKey;

/// Reads a `ServedModel`.
pub(super) fn read(meta: &Metadata, object: &Value) -> Result<StoredModel, ConfigError> {
    let mut object = object.clone();
    object["metadata"]["namespace"] = meta.namespace.clone().into();
    let no_name = || ConfigError::new("metadata.name", "is missing: give the object a name");
    let stored = StoredModel::read(&object).ok_or_else(no_name)?;
    if let Err(error) = &stored.model {
        return Err(error.clone());
    }
    if let Err(error) = &stored.spec {
        return Err(error.clone());
    }
    let status = object.get("status").filter(|status| !status.is_null());
    if status.is_some() && stored.status.is_none() {
        let message = "is not the status of a ServedModel: leave it out";
        return Err(ConfigError::new("status", message));
    }
    Ok(stored)
}

/// The models of all files.
#[derive(Debug, Default)]
pub(super) struct Models {
    all: BTreeMap<ModelKey, FileModel>,
}

#[derive(Debug, Default)]
struct FileModel {
    served: ModelRecord,
    /// The file whose `spec` counts.
    origin: Option<String>,
    /// Whether its memory comes from the state directory.
    has_state: bool,
}

impl Models {
    /// Adds an object of a file, in the state directory or not.
    ///
    /// # Errors
    /// The name of the file that already has an object of this model.
    pub(super) fn insert(
        &mut self,
        object: &StoredModel,
        file: &str,
        state: bool,
    ) -> Option<String> {
        let id = object.model.clone().ok()?;
        let key = (object.namespace.clone(), id);
        let model = self.all.entry(key).or_default();
        let memory = || -> Memory { object.memory().unwrap_or_default() };
        if state {
            (model.served.memory, model.has_state) = (memory(), true);
            return None;
        }
        if let Some(origin) = &model.origin {
            return Some(origin.clone());
        }
        model.origin = Some(file.to_owned());
        model.served.spec = object.spec.clone().unwrap_or_default();
        if !model.has_state {
            model.served.memory = memory();
        }
        None
    }

    /// The records of all models, as input of the plan.
    pub(super) fn served(self) -> BTreeMap<ModelKey, ModelRecord> {
        let all = self.all.into_iter();
        all.map(|(key, model)| (key, model.served)).collect()
    }
}
