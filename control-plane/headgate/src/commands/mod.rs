//! Commands that read, print and end.

pub(crate) mod schema;
pub(crate) mod translate;
pub(crate) mod validate;
