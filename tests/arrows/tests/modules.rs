//! Holds the arrows inside each crate that ships: sibling modules form no cycle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_test_arrows::house::{read, root};
use headgate_test_arrows::modules::{cycles, references};

/// Siblings that need each other are one module, or need a third one below both.
#[test]
fn sibling_modules_form_no_cycle() {
    let house = read().expect("cargo metadata");
    let mut found = Vec::new();
    let mut seen = 0;
    for member in house.values().filter(|member| member.ships) {
        let references = references(&root().join(&member.path).join("src")).unwrap();
        seen += references.len();
        let cycles = cycles(&references);
        found.extend(
            cycles
                .iter()
                .map(|cycle| format!("{}: {}", member.path.display(), cycle.join(" → "))),
        );
    }
    assert!(seen > 100, "only {seen} modules refer to a sibling");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
