//! The commands `schema`, `translate` and `validate`, which print a result and end.

pub(crate) mod bootstrap;
pub(crate) mod schema;
pub(crate) mod translate;
pub(crate) mod validate;
