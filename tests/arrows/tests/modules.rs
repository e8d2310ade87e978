//! Arrows inside each shipped crate: sibling modules form no cycle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_test_arrows::modules::{cycles, references};
use headgate_test_arrows::workspace::{read, root};

/// Siblings that need each other are one module, or need a third one below both.
#[test]
fn sibling_modules_form_no_cycle() {
    let workspace = read().expect("cargo metadata");
    let mut found = Vec::new();
    let mut count = 0;
    for member in workspace.values().filter(|member| member.ships) {
        let references = references(&root().join(&member.path).join("src")).unwrap();
        count += references.len();
        let cycles = cycles(&references);
        found.extend(
            cycles
                .iter()
                .map(|cycle| format!("{}: {}", member.path.display(), cycle.join(" → "))),
        );
    }
    assert!(count > 100, "only {count} modules refer to a sibling");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
