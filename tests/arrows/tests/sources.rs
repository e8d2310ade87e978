//! Rules for every file of the repository: it works on any machine and with any package mirror.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_test_arrows::links::{broken, missing_paths};
use headgate_test_arrows::sources::{Line, lines, names_absolute};

/// Written in two halves, because the check would find this file otherwise.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("npm", "js.org"),
    concat!("npm", "js.com"),
    concat!("proxy.golang", ".org"),
    concat!("sum.golang", ".org"),
    concat!("deb.debian", ".org"),
    concat!("rubygems", ".org"),
];

/// Directories of one machine or one user.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Use", "rs/"),
    concat!("/wo", "rk/"),
    concat!("/tm", "p/"),
    concat!("/workspa", "ce/"),
];

fn report(found: &[&Line]) -> String {
    let rows = found.iter().map(|line| {
        format!(
            "{}:{}: {}",
            line.file.display(),
            line.number,
            line.text.trim()
        )
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// Package managers know where their packages are; a host written down here would bypass a mirror.
#[test]
fn no_file_names_a_package_registry_host() {
    let lines = lines().expect("the repository's files");
    let named = |line: &&Line| REGISTRY_HOSTS.iter().any(|host| line.text.contains(host));
    let found: Vec<&Line> = lines.iter().filter(named).collect();
    assert!(found.is_empty(), "\n{}", report(&found));
}

#[test]
fn no_file_names_an_absolute_path_of_one_machine() {
    let lines = lines().expect("the repository's files");
    assert!(
        lines.iter().any(|line| line.file.ends_with("sources.rs")),
        "the search does not see its own file"
    );
    let named = |line: &&Line| {
        MACHINE_PATHS
            .iter()
            .any(|path| names_absolute(&line.text, path))
    };
    let found: Vec<&Line> = lines.iter().filter(named).collect();
    assert!(found.is_empty(), "\n{}", report(&found));
}

#[test]
fn an_absolute_path_is_distinguished_from_the_middle_of_another() {
    let path = MACHINE_PATHS[0];
    for before in ["", "cd ", "\"", "A=", "("] {
        assert!(
            names_absolute(&format!("{before}{path}x"), path),
            "{before}"
        );
    }
    for before in ["https://host", "target", "${DIR}", "~", "./a"] {
        assert!(
            !names_absolute(&format!("{before}{path}x"), path),
            "{before}"
        );
    }
}

#[test]
fn every_relative_link_between_documents_has_its_target() {
    let broken = broken(&lines().expect("the repository's files"));
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// CONTRIBUTING names the files of each kind of change, and the glossary where each term lives.
#[test]
fn every_path_that_a_document_names_exists() {
    let missing = missing_paths(&lines().expect("the repository's files"));
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

/// CONTRIBUTING, "Language": a module head is a noun phrase.
#[test]
fn every_module_head_says_what_the_module_is() {
    let lines = lines().expect("the repository's files");
    let heads: Vec<&Line> = lines.iter().filter(|line| is_head(line)).collect();
    assert!(heads.len() > 800, "only {} module heads", heads.len());
    let questions = ["What ", "Which ", "Who ", "Whom ", "Whose ", "How "];
    let asks = |line: &&&Line| {
        let text = line.text.trim_start_matches("//! ");
        questions.iter().any(|question| text.starts_with(question))
    };
    let found: Vec<&Line> = heads.iter().filter(asks).copied().collect();
    assert!(found.is_empty(), "\n{}", report(&found));
}

/// Whether the line is the first one of its file and documents the module.
fn is_head(line: &Line) -> bool {
    let rust = line.file.extension().is_some_and(|e| e == "rs");
    rust && line.number == 1 && line.text.starts_with("//! ")
}

#[test]
fn a_link_without_a_file_or_a_heading_is_found() {
    let file = "docs/page.md";
    let text = "# A page\n## Of `code`\n[a](#of-code) [b](../README.md) [c](https://example.com/x)\n\
                ```\n[in a block](gone.md)\n```\n[d](gone.md) [e](#gone) [f](../README.md#gone)";
    let page: Vec<Line> = text
        .lines()
        .zip(1..)
        .map(|(text, number)| Line {
            file: file.into(),
            number,
            text: text.to_owned(),
        })
        .collect();
    let expected = ["gone.md", "#gone", "../README.md#gone"];
    let expected = expected.map(|target| format!("{file}:7: {target}"));
    assert_eq!(broken(&page), expected);
}

#[test]
fn a_path_that_does_not_exist_is_found() {
    let page = [Line {
        file: "docs/page.md".into(),
        number: 1,
        text: "`filters/core` and `filters/gone.rs`; `filters/<name>` is a pattern".to_owned(),
    }];
    assert_eq!(missing_paths(&page), ["docs/page.md:1: filters/gone.rs"]);
}
