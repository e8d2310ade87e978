//! Suggestions for unknown names: the nearest known one, by edit distance.

/// Levenshtein distance: the least number of insertions, deletions and substitutions of characters between two texts.
#[must_use]
pub fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The nearest known name, if at most a third of its letters differ or one name contains the other.
pub(crate) fn nearest<'a>(
    wanted: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = (wanted.chars().count() / 3).max(1);
    let known = known.into_iter().filter_map(|name| {
        let away = edits(wanted, name);
        let within = wanted.len() > 2 && (name.contains(wanted) || wanted.contains(name));
        (away <= allowed || within).then_some((away, name))
    });
    known.min().map(|(_, name)| name)
}
