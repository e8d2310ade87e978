//! The tasks besides serving: each reads, prints and ends.

pub(crate) mod schema;
pub(crate) mod status;
pub(crate) mod translate;
pub(crate) mod validate;
