//! The list of the functions that come first: one name per line; `#` starts a comment.

use std::collections::BTreeMap;

use crate::functions::Functions;

/// The new position of each function of a module.
#[derive(Debug)]
pub struct Order {
    /// Old positions of the module's own functions, in their new order.
    pub old: Vec<usize>,
    /// Number of functions that the list names.
    pub first: usize,
    /// Names in the list without a function.
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
    /// The listed functions come first, in list order; the others keep their order.
    #[must_use]
    pub fn new(functions: &Functions, list: &str) -> Self {
        let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (position, name) in functions.own.iter().enumerate() {
            by_name.entry(name).or_default().push(position);
        }
        let (mut old, mut unknown) = (Vec::new(), Vec::new());
        for name in names(list) {
            match by_name.remove(name) {
                Some(positions) => old.extend(positions),
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
