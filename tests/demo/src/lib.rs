//! The demo's claims, one function each.
