//! The list of functions that come first: one name a line; `#` begins a comment.

use std::collections::BTreeMap;

use crate::functions::Functions;

/// Where each function of a module goes.
#[derive(Debug)]
pub struct Order {
    /// The old places of its own functions, in their new order.
    pub old: Vec<usize>,
    /// How many of them the list names.
    pub first: usize,
    /// Names in the list that no function has.
    pub unknown: Vec<String>,
}

/// The names of a list, in its order.
#[must_use]
pub fn names(list: &str) -> Vec<&str> {
    let lines = list.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

impl Order {
    /// What the list names comes first, in its order; the rest stays as it is.
    #[must_use]
    pub fn new(functions: &Functions, list: &str) -> Self {
        let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, name) in functions.own.iter().enumerate() {
            by_name.entry(name).or_default().push(place);
        }
        let (mut old, mut unknown) = (Vec::new(), Vec::new());
        for name in names(list) {
            match by_name.remove(name) {
                Some(places) => old.extend(places),
                None => unknown.push(name.to_owned()),
            }
        }
        let first = old.len();
        let mut rest: Vec<usize> = by_name.into_values().flatten().collect();
        rest.sort_unstable();
        old.extend(rest);
        Self {
            old,
            first,
            unknown,
        }
    }
}
