//! Precedence among random policies, compared with an oracle that checks each policy for each request.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixtures;

use std::collections::BTreeSet;

use fixtures::{Build, carrier, objects, policy};
use headgate_contract::{Bucket, FilterConfig, Target, TokenBucketPolicySpec};
use headgate_model::{Objects, Plan, Policy};
use proptest::prelude::*;
use proptest::sample::select;

const ROOT: &str = "root";
/// Namespace, model, versions, and the deployment that carries each version.
const FLEET: [(&str, &str, &[&str]); 4] = [
    ("default", "llama", &["v1", "v2"]),
    ("default", "phi", &["v1"]),
    ("other", "llama", &["v2", "v3"]),
    (ROOT, "own", &["v1"]),
];

fn deployment(model: &str, version: &str) -> String {
    format!("{model}-{version}")
}

fn fleet() -> Objects {
    objects(FLEET.into_iter().flat_map(|(namespace, model, versions)| {
        versions.iter().map(move |version| {
            let team = if model == "phi" { "blue" } else { "red" };
            carrier(&deployment(model, version), version)
                .model(model)
                .namespace(namespace)
                .label("team", team)
        })
    }))
}

fn target() -> impl Strategy<Value = String> {
    let model = || select(vec!["llama", "phi", "own", "none"]);
    let version = || select(vec!["v1", "v2", "v3"]);
    let reference =
        (model(), version(), prop::option::of(version())).prop_map(|(model, of, section)| {
            let section = section.map_or_else(String::new, |v| format!(r#","sectionName":"{v}""#));
            format!(
                r#"{{"kind":"Deployment","name":"{}"{section}}}"#,
                deployment(model, of)
            )
        });
    prop_oneof![
        2 => Just(String::new()),
        2 => model().prop_map(|m| format!(r#""models":["{m}"],"#)),
        1 => Just(r#""models":["llama","phi"],"#.to_owned()),
        2 => select(vec!["red", "blue"]).prop_map(|t| format!(r#""selector":{{"matchLabels":{{"team":"{t}"}}}},"#)),
        4 => prop::collection::vec(reference, 1..4).prop_map(|refs| format!(r#""targetRefs":[{}],"#, refs.join(","))),
    ]
}

fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let names = select(vec![&["a"][..], &["b"], &["a", "b"]]);
    let one = (
        select(vec!["default", "other", ROOT]),
        prop::option::of(0i64..3),
        target(),
        any::<bool>(),
        names,
    );
    prop::collection::vec(one, 0..7).prop_map(|list| {
        let build = |(i, (namespace, created, target, overrides, names)): (
            usize,
            (&str, _, String, bool, &[&str]),
        )| {
            let buckets: Vec<String> = names
                .iter()
                .map(|name| format!(r#"{{"name":"{name}","key":[],"profile":"semantic"}}"#))
                .collect();
            let spec = format!(
                r#"{{{target}"override":{overrides},"buckets":[{}]}}"#,
                buckets.join(",")
            );
            let mut policy = policy::<TokenBucketPolicySpec>(&format!("p{i}"), created, &spec);
            policy.namespace = namespace.to_owned();
            policy
        };
        list.into_iter().enumerate().map(build).collect()
    })
}

fn buckets(policy: &Policy) -> &[Bucket] {
    &policy.spec.get::<TokenBucketPolicySpec>().unwrap().buckets
}

/// How specific a policy's target is for a version of a model, if it applies: 0 the version, 1 the model, 2 labels, 3 all.
fn level(policy: &Policy, namespace: &str, model: &str, version: &str) -> Option<u8> {
    let in_root = policy.namespace == ROOT;
    let here = policy.namespace == namespace;
    match policy.spec.target() {
        Target::All => (here || in_root).then_some(3),
        Target::Models(ids) => {
            ((here || in_root) && ids.iter().any(|id| id.as_str() == model)).then_some(1)
        }
        Target::Selector(selector) => {
            let team = if model == "phi" { "blue" } else { "red" };
            ((here || in_root) && selector.match_labels["team"] == team).then_some(2)
        }
        Target::Refs(refs) => {
            let (_, _, versions) = *FLEET
                .iter()
                .find(|(n, m, _)| *n == namespace && *m == model)
                .unwrap();
            let carries = |name: &str| versions.iter().any(|v| deployment(model, v) == name);
            let mine: Vec<_> = refs
                .iter()
                .filter(|r| here && carries(r.name.as_str()))
                .collect();
            if mine.iter().any(|r| r.version.is_none()) {
                Some(1)
            } else {
                let named = |r: &&&headgate_contract::TargetRef| {
                    r.version.as_ref().is_some_and(|v| v.as_str() == version)
                };
                mine.iter().find(named).map(|_| 0)
            }
        }
    }
}

fn oracle(
    list: &[Policy],
    namespace: &str,
    model: &str,
    version: &str,
    bucket: &str,
) -> Option<String> {
    let with_bucket = list
        .iter()
        .filter(|p| buckets(p).iter().any(|b| b.name.as_str() == bucket));
    let ranked = with_bucket.filter_map(|p| {
        let level = level(p, namespace, model, version)?;
        let tier = match (p.namespace == ROOT, p.spec.overrides()) {
            (true, true) => 0,
            (true, false) if namespace != ROOT => 2,
            _ => 1,
        };
        Some((tier, level, p.created, p.namespace.clone(), p.name.clone()))
    });
    ranked
        .min()
        .map(|(_, _, _, namespace, name)| format!("{namespace}/{name}"))
}

/// Every namespace, model and version.
fn requests() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    FLEET.into_iter().flat_map(|(namespace, model, versions)| {
        versions.iter().map(move |v| (namespace, model, *v))
    })
}

fn planned(list: &[Policy]) -> Plan {
    let mut cluster = fleet();
    for policy in list {
        cluster.insert_policy(policy.clone());
    }
    fixtures::planned_under(ROOT, &cluster)
}

proptest! {
    #[test]
    fn every_request_spends_the_buckets_of_the_winners_and_no_others(list in policies()) {
        let plan = planned(&list);
        for (namespace, model, versions) in FLEET {
            let config = &plan.namespaces[namespace].config;
            for version in versions {
                for bucket in ["a", "b"] {
                    let spent: Vec<&str> = config
                        .buckets
                        .iter()
                        .filter(|r| r.bucket.name.as_str() == bucket && r.applies_to(model, version))
                        .map(|r| r.policy.as_str())
                        .collect();
                    let expected = oracle(&list, namespace, model, version, bucket);
                    prop_assert_eq!(spent, expected.iter().map(String::as_str).collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn a_policy_status_names_every_winner_of_a_claimed_part(list in policies()) {
        let plan = planned(&list);
        for policy in &list {
            let identity = format!("{}/{}", policy.namespace, policy.name);
            let message = &plan.policies[&policy.id()].accepted.message;
            for (i, bucket) in buckets(policy).iter().enumerate() {
                let winners: BTreeSet<String> = requests()
                    .filter(|(n, m, v)| level(policy, n, m, v).is_some())
                    .filter_map(|(n, m, v)| oracle(&list, n, m, v, bucket.name.as_str()))
                    .filter(|winner| *winner != identity)
                    .collect();
                let of_it = message.split("spec.").find(|part| part.starts_with(&format!("buckets[{i}]")));
                let of_it = of_it.unwrap_or_default();
                let named: BTreeSet<String> = of_it
                    .split("TokenBucketPolicy ")
                    .skip(1)
                    .filter_map(|rest| Some(rest.split_once(" takes precedence")?.0.to_owned()))
                    .collect();
                prop_assert_eq!(named, winners, "{}", message);
            }
        }
    }

    #[test]
    fn the_filters_parser_accepts_the_rules_of_any_policies(list in policies()) {
        let plan = planned(&list);
        let config = FilterConfig {
            namespaces: plan.namespaces.iter().map(|(n, view)| (n.clone(), view.config.clone())).collect(),
            ..FilterConfig::default()
        };
        prop_assert_eq!(FilterConfig::parse(config.emit().unwrap().as_bytes()), Ok(config));
    }

    #[test]
    fn a_policy_is_accepted_unless_no_part_takes_effect(list in policies()) {
        let plan = planned(&list);
        for policy in &list {
            let identity = format!("{}/{}", policy.namespace, policy.name);
            let with_rules: Vec<&String> = plan
                .namespaces
                .iter()
                .filter(|(_, view)| view.config.buckets.iter().any(|r| r.policy == identity))
                .map(|(namespace, _)| namespace)
                .collect();
            let outcome = &plan.policies[&policy.id()];
            prop_assert_eq!(outcome.namespaces.iter().collect::<Vec<_>>(), with_rules.clone());
            let reaches = FLEET.iter().any(|(n, m, vs)| vs.iter().any(|v| level(policy, n, m, v).is_some()));
            prop_assert_eq!(outcome.accepted.holds, !with_rules.is_empty() || !reaches);
        }
    }
}
