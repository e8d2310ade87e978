//! Committed manifests: the definitions of Headgate's kinds, and the rights of the control plane.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_contract::{POLICY_DEFINITIONS, PolicyDefinition, TokenBucketPolicySpec};
use headgate_kubernetes::access::Account;
use headgate_kubernetes::access::rbac;
use headgate_kubernetes::access::{MeshAccess, Needs, Role};
use headgate_kubernetes::kinds::Kind;
use headgate_kubernetes::policies::{Controller, StoredPolicy, crds, yaml};
use serde_json::{Value, json};

#[test]
fn every_kind_is_a_namespaced_kind_of_headgate_dev() {
    let crds = crds().unwrap();
    assert_eq!(crds.len(), POLICY_DEFINITIONS.len() + 1);
    for (kind, plural, short) in [
        ("AuthenticationPolicy", "authenticationpolicies", "ap"),
        ("TokenBucketPolicy", "tokenbucketpolicies", "tbp"),
        ("TrafficTagPolicy", "traffictagpolicies", "ttp"),
        ("ServedModel", "servedmodels", "smdl"),
    ] {
        let mut crds = crds.iter();
        let crd = crds
            .find(|crd| crd.spec.names.kind == kind)
            .unwrap()
            .clone();
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
    let definition = PolicyDefinition::find("TokenBucketPolicy").unwrap();
    let read = |spec: Value| {
        let object = json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": "TokenBucketPolicy",
            "metadata": {"name": "a", "namespace": "default"}, "spec": spec,
        });
        let stored = StoredPolicy::read(definition, &Controller::default(), &object).unwrap();
        let spec = stored.policy.unwrap().spec;
        spec.get::<TokenBucketPolicySpec>().unwrap().clone()
    };
    let spec = json!({"buckets": [{"name": "fair", "key": ["tenant"], "profile": "semantic"}]});
    let policy = read(spec);
    let written = serde_json::to_value(&policy).unwrap();
    assert_eq!(read(written), policy);
    assert_eq!(policy.buckets[0].name.as_str(), "fair");
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
        mesh: MeshAccess::None,
        reviews_tokens: true,
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
        mesh: MeshAccess::None,
        reviews_tokens: false,
    };
    let resources = |needs: &Needs, namespace: Option<&str>| -> Vec<String> {
        let rights = needs.rights().into_iter();
        let here = rights.filter(|right| right.namespace.as_deref() == namespace);
        here.map(|right| right.qualified()).collect()
    };
    let of_policies = [
        "authenticationpolicies.headgate.dev",
        "tokenbucketpolicies.headgate.dev",
        "traffictagpolicies.headgate.dev",
        "events.events.k8s.io",
        "authenticationpolicies.headgate.dev/status",
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
        needs.command(Role::Models, None),
        format!("{command} --install-namespace home")
    );
    assert_eq!(
        needs.command(Role::Models, Some("headgate")),
        needs.command(Role::Models, None)
    );
    let mut less = needs.clone();
    less.kinds = Kind::defaults_without_and(&["RayCluster".into()], &needs.kinds[10..]);
    assert_eq!(
        less.command(Role::Models, None),
        format!("{command} --no-owner-kind RayCluster --install-namespace home")
    );
    assert!(!resources(&less, Some("red")).contains(&"rayclusters.ray.io".to_owned()));
    assert_eq!(
        needs.command(Role::Models, Some("keeper")),
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
    // Reviews of tokens are of the whole cluster.
    needs.reviews_tokens = true;
    let reviews = [
        "tokenreviews.authentication.k8s.io",
        "subjectaccessreviews.authorization.k8s.io",
    ];
    assert_eq!(resources(&needs, None), reviews);
    let command = format!("{command} --admin-tokens --install-namespace home");
    for role in [Role::Models, Role::Replicas, Role::Clients] {
        assert_eq!(needs.command(role, None), command);
    }
    // The role of the mesh is printed by itself.
    let of_mesh = |mesh| Needs {
        mesh,
        ..needs.clone()
    };
    let command = "headgate schema rbac --namespace red --namespace blue --istio";
    let proxies = ["mesh".to_owned(), "edge".to_owned()];
    for (mesh, words) in [
        (MeshAccess::Read, "=watch"),
        (
            MeshAccess::Write(proxies.to_vec()),
            " --istio-clients mesh,edge",
        ),
        (MeshAccess::Write(Vec::new()), ""),
    ] {
        let needs = of_mesh(mesh);
        let expected = format!("{command}{words} --install-namespace home");
        assert_eq!(needs.command(Role::Mesh, None), expected);
        assert!(!needs.command(Role::Models, None).contains("--istio"));
    }
}
