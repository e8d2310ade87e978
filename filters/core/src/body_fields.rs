//! The fields of request bodies that the attributes of a namespace name. They are read before the model is known, so one list serves all
//! models.

use std::rc::Rc;

use headgate_contract::{Attribute, BodyPath, BodyStep, NamespaceConfig};
use headgate_dialect::{Capture, FieldPath, FieldStep, MAX_FIELDS};

/// Fields, each once.
#[derive(Debug, Clone)]
pub(crate) struct BodyFields {
    names: Rc<[BodyPath]>,
    /// In the same order.
    paths: Rc<[FieldPath]>,
}

impl BodyFields {
    /// The fields that keys, sources of the tenant and tag rules of a namespace name.
    ///
    /// # Errors
    /// There are more than can be read.
    pub(crate) fn of(config: &NamespaceConfig) -> Result<Self, String> {
        let keys = config.buckets.iter().flat_map(|rule| &rule.bucket.key);
        let taggings = config.tagging.iter().map(|rule| &rule.tagging);
        let tenants = taggings.clone().flat_map(|tagging| &tagging.tenant_from);
        let rules = taggings.flat_map(|tagging| &tagging.rules);
        let conditions = rules.flat_map(|rule| rule.attributes());
        let mut names = Vec::new();
        for attribute in keys.chain(tenants).chain(conditions) {
            if let Attribute::Body(path) = attribute
                && !names.contains(path)
            {
                names.push(path.clone());
            }
        }
        if names.len() > MAX_FIELDS {
            return Err(format!(
                "its policies name {} fields of bodies: use at most {MAX_FIELDS}",
                names.len()
            ));
        }
        let step = |step| match step {
            BodyStep::Key(key) => FieldStep::Key(key.to_owned()),
            BodyStep::Index(index) => FieldStep::Index(index.into()),
        };
        let paths = names.iter().map(|name| name.steps().map(step).collect());
        Ok(Self {
            paths: paths.collect(),
            names: names.into(),
        })
    }

    /// A reader of the fields; `None` if there are none.
    pub(crate) fn reader(&self) -> Option<(Rc<[BodyPath]>, Capture)> {
        let some = !self.names.is_empty();
        some.then(|| (Rc::clone(&self.names), Capture::new(&self.paths)))
    }
}
