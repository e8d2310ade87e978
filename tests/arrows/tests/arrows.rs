//! The allowed dependencies between crates, as in the design.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use headgate_test_arrows::workspace::{Kind, Member, Workspace, closure, read};

/// The crates that one crate may name in `[dependencies]`.
struct Rule {
    name: &'static str,
    /// Crates of this repository.
    ours: &'static [&'static str],
    /// Crates from outside. `Only` for the pure crates and the shell, where each one is a decision;
    /// `Guarded` if any crate is allowed, but of the guarded groups only these.
    outside: Outside,
    /// The sentence of the design that any other dependency breaks.
    says: &'static str,
}

enum Outside {
    Only(&'static [&'static str]),
    Guarded(&'static [&'static str]),
}

use Outside::{Guarded, Only};

/// Crates that only the crates with a rule for them may use.
const GUARDED: &[&str] = &[
    "proxy-wasm",
    "governor",
    "kube",
    "kube-client",
    "kube-core",
    "kube-runtime",
    "k8s-openapi",
    "tonic",
    "envoy-types",
    "notify",
    "axum",
    "clap",
];

const MODULE: Rule = Rule {
    name: "module-*",
    ours: &["headgate-shell"],
    outside: Only(&[]),
    says: "`modules` shell",
};

const RULES: &[Rule] = &[
    Rule {
        name: "headgate-contract",
        ours: &[],
        outside: Only(&["regex-lite", "serde", "serde_json", "schemars", "thiserror"]),
        says: "`contract` nothing of ours: the one source of truth of both halves (serde; JSON schema from it)",
    },
    Rule {
        name: "headgate-dialect",
        ours: &[],
        outside: Only(&["siphasher"]),
        says: "`dialect` nothing of ours: bytes → facts and usage",
    },
    Rule {
        name: "headgate-core",
        ours: &["headgate-contract", "headgate-dialect"],
        outside: Only(&["governor", "regex-lite", "sha2", "siphasher", "strsim"]),
        says: "`core` contract, dialect, governor",
    },
    Rule {
        name: "headgate-drive",
        ours: &["headgate-core"],
        outside: Only(&[]),
        says: "`drive` core: effects performed over two traits, without an ABI",
    },
    Rule {
        name: "headgate-shell",
        ours: &["headgate-core", "headgate-drive"],
        outside: Only(&["proxy-wasm"]),
        says: "`shell` core, drive, proxy-wasm: the only crate that names that ABI",
    },
    Rule {
        name: "module-headgate",
        ..MODULE
    },
    Rule {
        name: "module-token-bucket",
        ..MODULE
    },
    Rule {
        name: "module-traffic-tag",
        ..MODULE
    },
    Rule {
        name: "headgate-model",
        ours: &["headgate-contract"],
        outside: Only(&["sha2", "strsim", "thiserror"]),
        says: "`model` contract: no kube, no tonic",
    },
    Rule {
        name: "headgate-xds",
        ours: &[],
        outside: Guarded(&["envoy-types", "tonic"]),
        says: "`xds` envoy-types, tonic (not model): knows nothing of models",
    },
    Rule {
        name: "headgate-identity",
        ours: &["headgate-xds"],
        outside: Guarded(&[]),
        says: "`identity` xds (its connection): TLS and SPIFFE, no gRPC of ours",
    },
    Rule {
        name: "headgate-translate",
        ours: &["headgate-model", "headgate-contract", "headgate-xds"],
        outside: Guarded(&["envoy-types"]),
        says: "`translate` model, contract, xds (its resource type), envoy-types",
    },
    Rule {
        name: "headgate-kubernetes",
        ours: &["headgate-contract", "headgate-model"],
        outside: Guarded(&[
            "kube",
            "kube-client",
            "kube-core",
            "kube-runtime",
            "k8s-openapi",
        ]),
        says: "`kubernetes` contract, model (a ServedModel stores the memory of a model), kube",
    },
    Rule {
        name: "headgate-source",
        ours: &["headgate-contract", "headgate-kubernetes", "headgate-model"],
        outside: Guarded(&[
            "kube",
            "kube-client",
            "kube-core",
            "kube-runtime",
            "k8s-openapi",
            "notify",
        ]),
        says: "`source` model, contract, kubernetes",
    },
    Rule {
        name: "headgate-writer",
        ours: &["headgate-contract", "headgate-kubernetes", "headgate-model"],
        outside: Guarded(&[
            "kube",
            "kube-client",
            "kube-core",
            "kube-runtime",
            "k8s-openapi",
        ]),
        says: "`writer` model, contract, kubernetes",
    },
    Rule {
        name: "headgate-istio",
        ours: &["headgate-contract", "headgate-kubernetes", "headgate-model"],
        outside: Guarded(&["kube", "kube-client", "kube-core"]),
        says: "`istio` model, contract, kubernetes",
    },
    Rule {
        name: "headgate-publisher",
        ours: &[
            "headgate-contract",
            "headgate-model",
            "headgate-translate",
            "headgate-xds",
        ],
        outside: Guarded(&["envoy-types"]),
        says: "`publisher` model, contract, translate, xds, envoy-types",
    },
    Rule {
        name: "headgate-report",
        ours: &[
            "headgate-contract",
            "headgate-identity",
            "headgate-model",
            "headgate-publisher",
            "headgate-xds",
        ],
        outside: Guarded(&[]),
        says: "`report` model, contract, xds, publisher, identity (the TLS of its client): no kube",
    },
    Rule {
        name: "headgate",
        ours: &[
            "headgate-contract",
            "headgate-core",
            "headgate-dialect",
            "headgate-identity",
            "headgate-istio",
            "headgate-kubernetes",
            "headgate-model",
            "headgate-publisher",
            "headgate-report",
            "headgate-source",
            "headgate-translate",
            "headgate-writer",
            "headgate-xds",
        ],
        outside: Guarded(&["tonic", "envoy-types", "axum", "clap"]),
        says: "`headgate` all of control-plane, contract, core, dialect; no kube",
    },
];

fn workspace() -> Workspace {
    read().expect("cargo metadata")
}

fn is_ours(name: &str) -> bool {
    name == "headgate" || name.starts_with("headgate-") || name.starts_with("module-")
}

/// The arrows of one member that its rule does not allow, each with the sentence of the design.
fn forbidden(member: &Member, rule: &Rule) -> Vec<String> {
    let allowed = |to: &str| {
        if is_ours(to) {
            return rule.ours.contains(&to);
        }
        match &rule.outside {
            Only(names) => names.contains(&to),
            Guarded(names) => names.contains(&to) || !GUARDED.contains(&to),
        }
    };
    let arrows = [Kind::Normal, Kind::Build]
        .into_iter()
        .flat_map(|kind| member.direct(kind));
    arrows
        .filter(|to| !allowed(to))
        .map(|to| {
            format!(
                "{} → {to} is not an allowed arrow; the design says: {}",
                member.name, rule.says
            )
        })
        .collect()
}

#[test]
fn every_arrow_is_allowed_by_the_design() {
    let workspace = workspace();
    let broken: Vec<String> = RULES
        .iter()
        .filter_map(|rule| Some((workspace.get(rule.name)?, rule)))
        .flat_map(|(member, rule)| forbidden(member, rule))
        .collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_shipped_crate_has_a_rule() {
    let ruled: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    let workspace = workspace();
    let unruled: Vec<&String> = workspace
        .values()
        .filter(|member| member.ships && !ruled.contains(member.name.as_str()))
        .map(|member| &member.name)
        .collect();
    assert!(
        unruled.is_empty(),
        "no arrows are declared for {unruled:?}: the design must name them first"
    );
}

#[test]
fn a_forbidden_arrow_is_reported_with_the_sentence_of_the_design() {
    let mut member = workspace()["headgate-model"].clone();
    let mut arrow = member.arrows[0].clone();
    arrow.to = "kube".into();
    member.arrows.push(arrow);
    let rule = RULES
        .iter()
        .find(|rule| rule.name == "headgate-model")
        .unwrap();
    assert_eq!(
        forbidden(&member, rule),
        [
            "headgate-model → kube is not an allowed arrow; the design says: `model` contract: no kube, no tonic"
        ]
    );
}

#[test]
fn shipped_crates_never_depend_on_test_crates() {
    let workspace = workspace();
    for member in workspace.values().filter(|member| member.ships) {
        let test_only: Vec<&str> = member
            .direct(Kind::Normal)
            .into_iter()
            .filter(|to| workspace.get(*to).is_some_and(|head| !head.ships))
            .collect();
        assert!(
            test_only.is_empty(),
            "{} ships, but depends on {test_only:?}",
            member.name
        );
    }
}

/// Dev-dependencies are free, except that they may not reverse an arrow: a cycle that includes them
/// would compile one crate twice and let a lower crate test itself with a higher one.
#[test]
fn test_dependencies_make_no_cycle() {
    let workspace = workspace();
    let mut state = BTreeMap::new();
    for name in workspace.keys() {
        visit(name, &workspace, &mut state, &mut Vec::new());
    }
}

fn visit<'a>(
    name: &'a str,
    workspace: &'a Workspace,
    done: &mut BTreeMap<&'a str, ()>,
    path: &mut Vec<&'a str>,
) {
    assert!(
        !path.contains(&name),
        "a cycle of our crates: {} → {name}",
        path.join(" → ")
    );
    if done.contains_key(name) {
        return;
    }
    path.push(name);
    for arrow in workspace[name]
        .arrows
        .iter()
        .filter(|arrow| workspace.contains_key(&arrow.to))
    {
        visit(&arrow.to, workspace, done, path);
    }
    path.pop();
    done.insert(name, ());
}

#[test]
fn the_data_plane_and_the_control_plane_share_only_the_contract() {
    let filters = [
        "headgate-contract",
        "headgate-dialect",
        "headgate-core",
        "headgate-drive",
        "headgate-shell",
    ];
    let control_plane = [
        "headgate-model",
        "headgate-identity",
        "headgate-istio",
        "headgate-kubernetes",
        "headgate-publisher",
        "headgate-report",
        "headgate-source",
        "headgate-translate",
        "headgate-writer",
        "headgate-xds",
    ];
    let workspace = workspace();
    for name in filters {
        let arrows = &workspace[name].arrows;
        let crossing: Vec<_> = arrows
            .iter()
            .filter(|arrow| control_plane.contains(&arrow.to.as_str()))
            .collect();
        assert!(
            crossing.is_empty(),
            "{name} reaches into the control plane, if only to test: {crossing:?}"
        );
    }
}

/// `Cargo.toml` of the workspace has one version of each dependency.
#[test]
fn every_crate_requires_the_same_version_of_a_dependency() {
    let workspace = workspace();
    let mut expected: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for member in workspace.values() {
        for arrow in member.arrows.iter().filter(|arrow| !is_ours(&arrow.to)) {
            expected
                .entry(&arrow.to)
                .or_default()
                .entry(&arrow.requirement)
                .or_default()
                .push(&member.name);
        }
    }
    expected.retain(|_, versions| versions.len() > 1);
    assert!(
        expected.is_empty(),
        "declare it once in the workspace and inherit it: {expected:#?}"
    );
}

/// Every linked crate costs start-up time and memory in every worker of every proxy.
#[test]
fn modules_contain_neither_schemas_nor_a_runtime() {
    let module = closure("module-headgate", "wasm32-wasip1").expect("cargo tree");
    assert!(
        module.contains("headgate-core"),
        "not the closure of a module: {module:?}"
    );
    for stranger in [
        "schemars",
        "tokio",
        "tonic",
        "kube",
        "clap",
        "tracing",
        "thread_local",
    ] {
        assert!(
            !module.contains(stranger),
            "{stranger} is linked into module-headgate"
        );
    }
}
