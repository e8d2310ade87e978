//! Lists of names in messages.

/// At most 20 names, so a message does not grow with the fleet: `a, b and 3 more`.
pub(super) fn list<'n>(mut names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let shown: Vec<&str> = names.by_ref().take(20).collect();
    match names.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The parts of a message that exist; `None` if there is none.
pub(super) fn join<const N: usize>(parts: [Option<String>; N]) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}
