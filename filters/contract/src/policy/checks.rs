//! Checks and serde helpers that the kinds of policies share.

/// Refuses a list with too many entries.
pub(super) fn at_most(field: &str, len: usize, most: usize) -> Result<(), String> {
    if len > most {
        return Err(format!("`{field}` has {len} entries: give at most {most}"));
    }
    Ok(())
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(super) fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The rule of the API server for the three fields of a target. The parser of [`Target`](crate::Target) checks the same.
#[cfg(feature = "schema")]
pub(super) const ONE_TARGET: (&str, &str) = (
    "(has(self.targetRefs) ? 1 : 0) + (has(self.models) ? 1 : 0) + (has(self.selector) ? 1 : 0) <= 1",
    "`targetRefs`, `models` and `selector` exclude each other: keep one of them, or none for all models",
);
