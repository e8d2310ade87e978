//! A parser for the subset of the Prometheus text format that Envoy and Headgate write.

use std::collections::BTreeMap;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct PromSample {
    /// The metric's name, with `_bucket`, `_sum` or `_count` for a histogram.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl PromSample {
    /// Whether the labels include all of these.
    #[must_use]
    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.labels.get(*name).is_some_and(|have| have == value))
    }
}

/// Parses a page; comments and lines that are not samples are skipped.
#[must_use]
pub fn parse_prometheus(text: &str) -> Vec<PromSample> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(parse_line)
        .collect()
}

fn parse_line(line: &str) -> Option<PromSample> {
    let name_end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(name_end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(labels) => parse_labels(labels)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(PromSample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// `a="b",c="d"} rest`; values escape backslash, quote and newline.
fn parse_labels(mut text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        text = text.trim_start_matches(',');
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.to_owned(), value);
        text = &quoted[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_keep_names_labels_and_values() {
        let page = "# TYPE a counter\na{} 3\nb{m=\"x/y\",v=\"q\\\"1\\\\\"} 1.5\nc 7 1700000000\n\
                    d_bucket{le=\"+Inf\"} 4\nnot a sample\n";
        let samples = parse_prometheus(page);
        let names: Vec<_> = samples.iter().map(|s| (s.name.as_str(), s.value)).collect();
        assert_eq!(
            names,
            [("a", 3.0), ("b", 1.5), ("c", 7.0), ("d_bucket", 4.0)]
        );
        assert!(samples[1].has(&[("m", "x/y"), ("v", "q\"1\\")]));
        assert!(!samples[1].has(&[("m", "x")]));
        assert!(samples[3].has(&[("le", "+Inf")]));
    }
}
