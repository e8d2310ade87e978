//! Names that are computed: subsets of versions, hosts of virtual hosts.

use headgate_contract::names::{host_of, is_shared_subset, is_subset, shared_subset, subset};
use proptest::prelude::*;

#[test]
fn a_version_that_is_a_dns_label_is_its_own_subset() {
    let longest = "a".repeat(63);
    for version in [
        "v1",
        "1",
        "v2-canary",
        "v2-abcdef0",
        "v2-abcdefgh",
        &longest,
    ] {
        assert_eq!(subset(version), version);
    }
}

#[test]
fn other_versions_get_a_label_with_their_hash() {
    for (version, expected) in [
        ("v2.3.1-cuda118", "v2-3-1-cuda118-7128d30d"),
        ("V1", "v1-"),
        ("v1.", "v1-"),
        // The form of a hashed label, so that no version can be named as the hash of another one.
        ("v2-3-1-cuda118-7128d30d", "v2-3-1-cuda118-7128d30d-"),
    ] {
        let label = subset(version);
        assert!(label.starts_with(expected), "{version}: {label}");
    }
    let labels = ["v2.1", "v2-1", "V2.1", "v2_1", "V2-1"].map(subset);
    let different: std::collections::BTreeSet<_> = labels.iter().collect();
    assert_eq!(different.len(), labels.len(), "{labels:?}");
}

#[test]
fn the_host_of_a_virtual_host_has_no_port() {
    for (name, host) in [
        (
            "llama3-70b.models.svc.cluster.local:8000",
            "llama3-70b.models.svc.cluster.local",
        ),
        ("ai.example.com:8080", "ai.example.com"),
        ("ai.example.com", "ai.example.com"),
        ("AI.example.com.:8080", "AI.example.com"),
        ("*.example.com:443", "*.example.com"),
        ("*:8080", "*"),
        ("10.0.0.1:8000", "10.0.0.1"),
        ("[fd00::1]:8000", "fd00::1"),
        ("[fd00::1]", "fd00::1"),
        ("fd00::1", "fd00::1"),
        ("inbound|http|8000", "inbound|http|8000"),
        ("allow_any", "allow_any"),
        ("", ""),
        ("[", "["),
    ] {
        assert_eq!(host_of(name), host, "{name}");
    }
}

proptest! {
    #[test]
    fn a_subset_is_a_dns_label(version in "[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?") {
        let label = subset(&version);
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        prop_assert!((1..=63).contains(&label.len()) && label.chars().all(valid), "{}", label);
        prop_assert!(is_subset(&version, &label));
        prop_assert!(!label.starts_with('-') && !label.ends_with('-'), "{}", label);
    }

    #[test]
    fn a_shared_subset_belongs_to_one_version_of_one_model(model in "m[12]", a in "v[12]([.]0)?", b in "v[12]([.]0)?") {
        let label = shared_subset(&model, &a);
        prop_assert_eq!(is_shared_subset(&model, &b, &label), a == b);
        prop_assert!(!is_shared_subset("m3", &a, &label) && !is_subset(&a, &label));
    }

    #[test]
    fn versions_of_one_replaced_text_have_different_subsets(a in "[vV][12][._-][01]", b in "[vV][12][._-][01]") {
        prop_assert_eq!(subset(&a) == subset(&b), a == b);
        prop_assert_eq!(is_subset(&a, &subset(&b)), a == b);
    }
}
