//! Committed manifests: the definitions of Headgate's kinds, and the rights of the control plane.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_kubernetes::access::Account;
use headgate_kubernetes::access::Needs;
use headgate_kubernetes::access::rbac;
use headgate_kubernetes::kinds::Kind;
use headgate_kubernetes::policies::TokenBucketPolicy;
use headgate_kubernetes::policies::TrafficTagPolicy;
use headgate_kubernetes::policies::crds;
use headgate_kubernetes::policies::yaml;
use kube::CustomResourceExt;

#[test]
fn the_policies_are_namespaced_kinds_of_headgate_dev() {
    for (crd, plural, short) in [
        (TokenBucketPolicy::crd(), "tokenbucketpolicies", "tbp"),
        (TrafficTagPolicy::crd(), "traffictagpolicies", "ttp"),
    ] {
        assert_eq!(crd.metadata.name.unwrap(), format!("{plural}.headgate.dev"));
        assert_eq!(crd.spec.scope, "Namespaced");
        assert_eq!(crd.spec.names.short_names.unwrap(), [short]);
        assert_eq!(crd.spec.names.categories.unwrap(), ["headgate"]);
        assert_eq!(crd.spec.versions[0].name, "v1alpha1");
        assert!(crd.spec.versions[0].schema.is_some());
    }
}

#[test]
fn a_policy_object_reads_and_writes_the_spec_in_its_documented_form() {
    let text = r#"{"apiVersion":"headgate.dev/v1alpha1","kind":"TokenBucketPolicy","metadata":{"name":"a"},
        "spec":{"buckets":[{"name":"fair","key":["tenant"],"profile":"semantic"}]}}"#;
    let policy: TokenBucketPolicy = serde_json::from_str(text).unwrap();
    let again: TokenBucketPolicy =
        serde_json::from_value(serde_json::to_value(&policy).unwrap()).unwrap();
    assert_eq!(again, policy);
    assert_eq!(policy.spec.0.buckets[0].name.as_str(), "fair");
}

#[test]
fn the_committed_definitions_are_the_contracts() {
    let now = yaml(&crds().unwrap()).unwrap();
    committed("istio-manifests/base/crds/headgate.dev.yaml", &now);
}

fn committed(file: &str, now: &str) {
    let crate_dir = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let then = std::fs::read_to_string(format!("{crate_dir}/../../{file}")).unwrap_or_default();
    assert!(
        now == then,
        "{file} is stale: run `make schema` and commit it"
    );
}

#[test]
fn the_committed_rights_are_the_tables() {
    let home = "headgate-system";
    let needs = Needs {
        kinds: Kind::defaults(),
        policies: true,
        namespaces: Vec::new(),
        root_namespace: None,
        own_namespace: home.to_owned(),
    };
    let account = Account {
        namespace: home.to_owned(),
        name: "headgate".to_owned(),
    };
    committed("istio-manifests/base/rbac.yaml", &rbac(&needs, &account));
}

#[test]
fn rights_are_requested_only_where_they_are_used() {
    let mut needs = Needs {
        kinds: Kind::defaults_without_and(&[], &["my.org/v1/gangs/Gang".parse().unwrap()]),
        policies: true,
        namespaces: vec!["red".into(), "blue".into()],
        root_namespace: Some("house".into()),
        own_namespace: "home".into(),
    };
    let resources = |needs: &Needs, namespace: Option<&str>| -> Vec<String> {
        let rights = needs.rights().into_iter();
        let here = rights.filter(|right| right.namespace.as_deref() == namespace);
        here.map(|right| right.qualified()).collect()
    };
    let of_policies = [
        "tokenbucketpolicies.headgate.dev",
        "traffictagpolicies.headgate.dev",
        "events.events.k8s.io",
        "tokenbucketpolicies.headgate.dev/status",
        "traffictagpolicies.headgate.dev/status",
    ];
    assert_eq!(resources(&needs, Some("house")), of_policies);
    assert_eq!(
        resources(&needs, Some("home")),
        [
            "events.events.k8s.io",
            "leases.coordination.k8s.io",
            "configmaps"
        ]
    );
    assert_eq!(resources(&needs, None), Vec::<String>::new());
    let red = resources(&needs, Some("red"));
    assert_eq!(red, resources(&needs, Some("blue")));
    assert!(red.contains(&"gangs.my.org".to_owned()) && red.contains(&"pods".to_owned()));
    let command = "headgate schema rbac --namespace red --namespace blue --root-namespace house --owner-kind my.org/v1/gangs/Gang";
    assert_eq!(
        needs.command(None),
        format!("{command} --install-namespace home")
    );
    assert_eq!(needs.command(Some("headgate")), needs.command(None));
    let mut less = needs.clone();
    less.kinds = Kind::defaults_without_and(&["RayCluster".into()], &needs.kinds[10..]);
    assert_eq!(
        less.command(None),
        format!("{command} --no-owner-kind RayCluster --install-namespace home")
    );
    assert!(!resources(&less, Some("red")).contains(&"rayclusters.ray.io".to_owned()));
    assert_eq!(
        needs.command(Some("keeper")),
        format!("{command} --service-account keeper --install-namespace home")
    );
    // Policies from files need no rights.
    needs.policies = false;
    assert_eq!(resources(&needs, Some("house")), ["events.events.k8s.io"]);
    assert!(
        !needs
            .rights()
            .iter()
            .any(|right| right.qualified().contains("polic"))
    );
}
