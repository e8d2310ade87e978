//! Suggestions for an unknown name: similar known names.

use strsim::levenshtein;

/// Largest number of suggestions.
const MAX_SUGGESTIONS: usize = 5;

/// The most similar names, best first: names within a small edit distance, and names that contain one another.
pub fn near<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let allowed = (wanted.chars().count() / 3).max(2);
    let mut found: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            // The name may be given with or without its namespace.
            let short = lower.rsplit('/').next().unwrap_or(&lower);
            let away = levenshtein(&wanted, &lower).min(levenshtein(&wanted, short));
            let within = wanted.len() > 2 && (lower.contains(&wanted) || wanted.contains(short));
            (away <= allowed || within).then_some((away, name))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
        .into_iter()
        .take(MAX_SUGGESTIONS)
        .map(|(_, name)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_is_near_and_another_name_is_not() {
        let known = ["default/llama3-70b", "default/phi-3", "prod/llama3-8b"];
        assert_eq!(
            near("lama3-70b", known),
            ["default/llama3-70b", "prod/llama3-8b"]
        );
        assert_eq!(near("default/lama3-70b", known)[0], "default/llama3-70b");
        assert_eq!(near("llama3", known).len(), 2);
        assert!(near("gpt-4", known).is_empty());
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(levenshtein("kitten", "sitting"), 3);
        assert_eq!(levenshtein("", "abc"), 3);
        assert_eq!(levenshtein("same", "same"), 0);
    }
}
