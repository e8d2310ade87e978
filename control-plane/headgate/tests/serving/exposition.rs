//! A strict reader of OpenMetrics 1.0 text, as far as gauges, counters and histograms go: it refuses what a scraper would refuse.

use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

/// Every sample of a scrape.
#[derive(Debug)]
pub(crate) struct Exposition {
    samples: BTreeMap<(String, Labels), f64>,
}

/// The family whose lines are being read.
struct Family {
    name: String,
    kind: Option<String>,
    help: bool,
    sampled: bool,
}

impl Exposition {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let body = text
            .strip_suffix("# EOF\n")
            .ok_or("does not end in `# EOF`")?;
        let mut samples = BTreeMap::new();
        let mut done = BTreeSet::new();
        let mut family: Option<Family> = None;
        for line in body.lines() {
            let wrong = |why: &str| format!("{why}: {line}");
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (what, name) = (words.next(), words.next().ok_or(wrong("no name"))?);
                if family.as_ref().is_none_or(|f| f.name != name) {
                    if !metric_name(name) || !done.insert(name.to_owned()) {
                        return Err(wrong("a bad name, or a family in two places"));
                    }
                    family = Some(Family {
                        name: name.to_owned(),
                        kind: None,
                        help: false,
                        sampled: false,
                    });
                }
                let family = family.as_mut().ok_or(wrong("no family"))?;
                if family.sampled {
                    return Err(wrong("after the samples"));
                }
                let value = words.next().unwrap_or_default();
                match what {
                    Some("HELP")
                        if !std::mem::replace(&mut family.help, true) && !value.is_empty() => {}
                    Some("TYPE")
                        if family.kind.is_none()
                            && ["gauge", "counter", "histogram"].contains(&value) =>
                    {
                        family.kind = Some(value.to_owned());
                    }
                    _ => return Err(wrong("not HELP or TYPE, or for the second time")),
                }
                continue;
            }
            let (name, labels, value) = sample(line).map_err(|why| wrong(&why))?;
            let family = family.as_mut().ok_or(wrong("a sample before its family"))?;
            family.sampled = true;
            let suffix = name
                .strip_prefix(&family.name)
                .ok_or(wrong("not of this family"))?;
            let fits = match family.kind.as_deref() {
                Some("counter") => suffix == "_total" && value >= 0.0,
                Some("histogram") => {
                    let is_bucket = suffix == "_bucket" && labels.contains_key("le");
                    (is_bucket || ["_sum", "_count"].contains(&suffix)) && value >= 0.0
                }
                Some(_) => suffix.is_empty(),
                None => false,
            };
            if !fits || !family.help || !value.is_finite() {
                return Err(wrong("does not fit its family"));
            }
            if samples.insert((name, labels), value).is_some() {
                return Err(wrong("twice"));
            }
        }
        Ok(Self { samples })
    }

    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        self.samples
            .get(&(name.to_owned(), labels.collect()))
            .copied()
    }
}

fn metric_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// Name, labels and value of a line.
fn sample(line: &str) -> Result<(String, Labels, f64), String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, rest) = line.split_at(end);
    if !metric_name(name) {
        return Err("a bad name".to_owned());
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value = value
        .parse()
        .map_err(|_| format!("{value:?} is no number"))?;
    Ok((name.to_owned(), labels, value))
}

/// The labels, and what follows the closing brace.
fn labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut found = Labels::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((found, after));
        }
        let (name, after) = rest.split_once("=\"").ok_or("no label")?;
        if !metric_name(name) || name.contains(':') {
            return Err(format!("{name:?} is no label name"));
        }
        let (value, after) = quoted(after)?;
        if found.insert(name.to_owned(), value).is_some() {
            return Err(format!("label {name} twice"));
        }
        rest = after.strip_prefix(',').unwrap_or(after);
        if rest.len() == after.len() && !rest.starts_with('}') {
            return Err("no comma between labels".to_owned());
        }
    }
}

/// A value up to its closing quote, unescaped.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('\\' | '"'))) => value.push(c),
                other => return Err(format!("escape {other:?}")),
            },
            c => value.push(c),
        }
    }
    Err("a value without end".to_owned())
}

#[test]
fn an_invalid_scrape_is_refused() {
    let good = "# HELP a b\n# TYPE a gauge\na{l=\"x\\\"y\"} 1\n# EOF\n";
    let parsed = Exposition::parse(good).unwrap();
    assert_eq!(parsed.value("a", &[("l", "x\"y")]), Some(1.0));
    for (fault, cured) in [
        ("# EOF\n", ""),
        ("# HELP a b\n", ""),
        ("# TYPE a gauge\n", ""),
        ("# TYPE a gauge\n", "# TYPE a counter\n"),
        ("# TYPE a gauge\n", "# TYPE a gauge\n# TYPE a gauge\n"),
        ("a{l=\"x\\\"y\"} 1\n", "a{l=\"x\"y\"} 1\n"),
        ("a{l=\"x\\\"y\"} 1\n", "a 1\na 2\n"),
        ("a{l=\"x\\\"y\"} 1\n", "a one\n"),
    ] {
        let bad = good.replace(fault, cured);
        assert!(Exposition::parse(&bad).is_err(), "{bad}");
    }
}
