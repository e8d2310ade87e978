//! Suggestions for unknown names: the nearest known one, by edit distance.

use strsim::levenshtein;

/// The nearest known name, if at most a third of its letters differ or one name contains the other.
pub(crate) fn nearest<'a>(
    wanted: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = (wanted.chars().count() / 3).max(1);
    let known = known.into_iter().filter_map(|name| {
        let distance = levenshtein(wanted, name);
        let within = wanted.len() > 2 && (name.contains(wanted) || wanted.contains(name));
        (distance <= allowed || within).then_some((distance, name))
    });
    known.min().map(|(_, name)| name)
}
