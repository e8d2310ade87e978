//! The names and the values that a tag can have.

/// Longest value of a tag, in bytes.
pub(crate) const MAX_TAG_VALUE: usize = 128;

/// Checks the name of a tag of the operator's own.
pub(crate) fn tag_name(name: &str) -> Result<(), String> {
    if name.contains('_') {
        return Err(format!(
            "tag {name:?} must not contain '_', which some servers read as '-'"
        ));
    }
    if ["model", "version", "tenant", "lane", "rule", "reason"].contains(&name) {
        return Err(format!(
            "tag {name:?} is one of Headgate's own: choose another name"
        ));
    }
    Ok(())
}

/// Whether it can be the value of a tag: 1–128 visible ASCII characters without `,`, `;` and `"`.
#[must_use]
pub fn tag_value(value: &[u8]) -> bool {
    let visible = |c: &u8| c.is_ascii_graphic() && !matches!(c, b',' | b';' | b'"');
    (1..=MAX_TAG_VALUE).contains(&value.len()) && value.iter().all(visible)
}
