//! Invariants of the plan, over random objects, edits and orders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixtures;

use std::collections::BTreeMap;

use fixtures::{Build, carrier, model_id, objects, planned, policy, version};
use headgate_contract::{
    FilterConfig, ServedModelSpec, TokenBucketPolicySpec, TrafficTagPolicySpec, names,
};
use headgate_model::{
    Carrier, LabelKeys, Memory, ModelRecord, Objects, Plan, PlannedModel, Registry, ScaleDamper,
    StoredCarrier, Tick, next_memories, plan,
};
use proptest::prelude::*;
use proptest::sample::select;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn weight() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        3 => Just(None),
        4 => (0..=100_u8).prop_map(|w| Some(w.to_string())),
        1 => select(vec!["", "ten", "101", "-1", "1O", "007"]).prop_map(|w| Some(w.to_owned())),
    ]
}

fn any_carrier() -> impl Strategy<Value = Carrier> {
    let identity = (
        select(NAMES.to_vec()),
        select(vec!["llama", "llama", "phi"]),
        select(vec!["v1", "v2", "v3"]),
    );
    let age = prop_oneof![Just(None), (0..4_i64).prop_map(Some)];
    let pods = (
        0..4_u32,
        0..3_u32,
        select(vec!["v1", "v2", "v4"]),
        0..6_u32,
        any::<bool>(),
    );
    let annotations = (
        weight(),
        prop::bool::weighted(0.2),
        select(vec!["", "x", "x,y", "phi,z", "llama"]),
        prop::option::of(select(vec!["context", "4096", "0", "4k"])),
        prop::option::of(select(vec!["8192", "10000001"])),
    );
    (identity, age, pods, annotations).prop_map(
        |((name, model, version), age, pods, annotations)| {
            let (weight, joins, clients, default, context) = annotations;
            let (ready, rolling, next, desired, all_ready) = pods;
            let mut c = carrier(name, version)
                .model(model)
                .ready(ready)
                .rolling(next, rolling);
            c = c.desired(desired).names(clients);
            c.created = age;
            for (key, value) in [
                (names::ANNOTATION_DEFAULT_MAX_TOKENS, default),
                (names::ANNOTATION_CONTEXT_LENGTH, context),
            ] {
                if let Some(value) = value {
                    c = c.annotated(key, value);
                }
            }
            if !all_ready {
                c.pods.iter_mut().step_by(2).for_each(|p| p.ready = false);
            }
            if joins {
                c = c.joins();
            }
            match weight {
                Some(label) => c.weight(&label),
                None => c,
            }
        },
    )
}

fn bucket_spec() -> impl Strategy<Value = String> {
    let target = select(vec![
        "",
        r#""models":["llama"],"#,
        r#""models":["phi","none"],"#,
        r#""models":["none"],"#,
        r#""selector":{"matchLabels":{"model-version":"v2"}},"#,
    ]);
    (target, select(vec!["fair", "burst"])).prop_map(|(target, name)| {
        format!(
            r#"{{{target}"buckets":[{{"name":"{name}","key":["tenant"],"profile":"semantic"}}]}}"#
        )
    })
}

fn tag_spec() -> impl Strategy<Value = &'static str> {
    select(vec![
        "{}",
        r#"{"models":["llama"]}"#,
        r#"{"selector":{"matchLabels":{"model-version":"v2"}},"baggage":false}"#,
    ])
}

fn served() -> impl Strategy<Value = ModelRecord> {
    let identity = || select(NAMES.to_vec()).prop_map(|name| format!("deployment/{name}"));
    let stored = || {
        let versions = prop::collection::btree_set(select(vec!["v1", "v2", "v4"]), 0..2);
        let versions = versions.prop_map(|all| all.into_iter().map(version).collect());
        prop::collection::btree_map(
            identity(),
            versions.prop_map(|versions| StoredCarrier {
                versions,
                undeclared_since: None,
            }),
            0..3,
        )
    };
    let full_share = prop::collection::btree_set(identity(), 0..3);
    (stored(), stored(), full_share, prop::option::of(0..=100_u8)).prop_map(
        |(base, previous, full_share, min_ready_percent)| ModelRecord {
            spec: ServedModelSpec {
                min_ready_percent,
                ..ServedModelSpec::default()
            },
            memory: Memory {
                base,
                previous,
                full_share,
                ..Memory::default()
            },
            ..ModelRecord::default()
        },
    )
}

prop_compose! {
    fn cluster()(
        served in prop::option::of(served()),
        carriers in prop::collection::vec(any_carrier(), 0..8),
        buckets in prop::collection::vec((select(vec!["p", "q", "r"]), prop::option::of(0..3_i64), bucket_spec()), 0..4),
        tags in prop::collection::vec((select(vec!["s", "t"]), prop::option::of(0..3_i64), tag_spec()), 0..3),
    ) -> Objects {
        let mut cluster = objects(carriers);
        if let Some(served) = served {
            cluster.served_models.insert(("default".into(), model_id("llama")), served);
        }
        for (name, created, spec) in buckets {
            cluster.insert_policy(policy::<TokenBucketPolicySpec>(name, created, &spec));
        }
        for (name, created, spec) in tags {
            cluster.insert_policy(policy::<TrafficTagPolicySpec>(name, created, spec));
        }
        cluster
    }
}

fn models(plan: &Plan) -> impl Iterator<Item = &PlannedModel> {
    plan.namespaces.values().flat_map(|ns| ns.models.values())
}

fn config(plan: &Plan) -> FilterConfig {
    FilterConfig {
        namespaces: plan
            .namespaces
            .iter()
            .map(|(ns, p)| (ns.clone(), p.config.clone()))
            .collect(),
        ..FilterConfig::default()
    }
}

fn routes(model: &PlannedModel) -> bool {
    model.variants.values().any(|v| v.share > 0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn weights_sum_to_100(cluster in cluster()) {
        for model in models(&planned(&cluster)) {
            let sum: u32 = model.variants.values().map(|v| v.share).sum();
            prop_assert_eq!(sum, if model.plan.ready() { 1_000_000 } else { 0 });
            let by_carrier: u32 = model.carriers.iter().map(|c| c.share).sum();
            prop_assert_eq!(by_carrier, sum);
            let canaries: u64 = model.plan.canaries.iter().map(|c| c.weight.millionths()).sum();
            if model.plan.base.is_empty() && !model.plan.canaries.is_empty() {
                prop_assert_eq!(canaries, 100_000_000);
            }
            prop_assert!(canaries <= 100_000_000);
            // Every version that a filter can pick has a locality, or a proxy without the filter would split differently.
            let rest = canaries < 100_000_000;
            let picked = model.plan.canaries.iter().chain(model.plan.base.iter().filter(|_| rest));
            for version in picked.flat_map(|c| &c.versions).filter(|v| v.endpoints > 0) {
                prop_assert!(model.variants[&version.version].share > 0);
            }
        }
    }

    #[test]
    fn never_routes_to_nothing(cluster in cluster()) {
        let plan = planned(&cluster);
        for model in models(&plan) {
            let ready = model.variants.values().any(|v| !v.endpoints.is_empty());
            prop_assert_eq!(routes(model), ready);
            prop_assert_eq!(model.plan.ready(), ready);
            for variant in model.variants.values().filter(|v| v.share > 0) {
                prop_assert!(!variant.endpoints.is_empty());
            }
        }
        // A model that any carrier names is known, whatever the state of its versions and pods.
        for carrier in cluster.carriers.values() {
            prop_assert!(plan.namespaces["default"].models.contains_key(carrier.labels["model-name"].as_str()));
        }
    }

    #[test]
    fn plan_is_a_pure_function(
        history in prop::collection::vec(cluster(), 0..3),
        last in cluster(),
        ready_before in 0..20_u64,
    ) {
        // One replica saw other objects before, in another order; the other starts with the last ones.
        let mut old_replica = Objects::default();
        let mut damper = ScaleDamper::default();
        let mut at = Tick { elapsed: std::time::Duration::ZERO, unix_seconds: 1_800_000_000 };
        let mut observe = |objects: &Objects, damper: &mut ScaleDamper, seconds: u64| {
            at.elapsed += std::time::Duration::from_secs(seconds);
            at.unix_seconds += seconds;
            let registry = Registry::build(objects, &LabelKeys::default());
            let scales = damper.observe(&registry.readiness(), at);
            (plan(&registry, objects, &scales), at)
        };
        for cluster in history {
            old_replica.carriers.extend(cluster.carriers.into_iter().rev());
            old_replica.policies.extend(cluster.policies.into_iter().rev());
            old_replica.served_models.extend(cluster.served_models);
            observe(&old_replica, &mut damper, ready_before);
        }
        for (key, mut carrier) in last.carriers.clone().into_iter().rev() {
            carrier.pods.reverse();
            old_replica.carriers.insert(key, carrier);
        }
        old_replica.carriers.retain(|key, _| last.carriers.contains_key(key));
        old_replica.policies.clone_from(&last.policies);
        old_replica.served_models.clone_from(&last.served_models);
        observe(&old_replica, &mut damper, 0);
        // The scales are quiet: held-back changes have taken effect.
        let (old, _) = observe(&old_replica, &mut damper, 10);
        let (new, _) = observe(&last, &mut ScaleDamper::default(), 0);
        prop_assert_eq!(config(&old).emit().unwrap(), config(&new).emit().unwrap());
        prop_assert_eq!(old, new);
    }

    /// The memory that a plan writes is an input of the next plan: the two must converge.
    #[test]
    fn memory_settles(cluster in cluster()) {
        let mut cluster = cluster;
        for turn in 0.. {
            let memories = next_memories(&planned(&cluster), &cluster, 1_800_000_000);
            let mut changed = false;
            for (key, memory) in memories {
                let served = cluster.served_models.entry(key).or_default();
                changed |= served.memory != memory;
                served.memory = memory;
            }
            if !changed {
                break;
            }
            prop_assert!(turn < 5, "memories do not settle: {:?}", cluster.served_models);
        }
    }

    #[test]
    fn bad_label_never_removes_traffic(
        cluster in cluster(),
        which in any::<prop::sample::Index>(),
        label in select(vec!["", "ten", "101", "-1", "1O", "007", "5%", "NaN", "0.5"]),
    ) {
        prop_assume!(!cluster.carriers.is_empty());
        let before = planned(&cluster);
        let key = which.get(&cluster.carriers.keys().collect::<Vec<_>>()).to_owned().clone();
        let mut edited = cluster;
        edited.carriers.get_mut(&key).unwrap().labels.insert("canary-weight".into(), label.into());
        let after = planned(&edited);
        let name = edited.carriers[&key].labels["model-name"].clone();
        for (id, model) in &before.namespaces["default"].models {
            let now = &after.namespaces["default"].models[id];
            if id.as_str() == name {
                prop_assert_eq!(routes(now), routes(model));
                let versions = |m: &PlannedModel| m.variants.iter()
                    .map(|(v, p)| (v.clone(), p.endpoints.clone())).collect::<BTreeMap<_, _>>();
                prop_assert_eq!(versions(now), versions(model), "pins still reach what they reached");
            } else {
                prop_assert_eq!(now, model, "another model's plan");
            }
        }
    }

    #[test]
    fn the_filters_parser_accepts_every_emitted_configuration(cluster in cluster()) {
        let emitted = config(&planned(&cluster));
        let parsed = FilterConfig::parse(emitted.emit().unwrap().as_bytes());
        prop_assert_eq!(parsed, Ok(emitted));
    }
}
