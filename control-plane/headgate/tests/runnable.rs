//! Every readable policy runs: the test plans generated policies, writes the filter configuration and loads it into the
//! filters' code. With the same generator, `headgate-kubernetes` tests that the API server accepts no others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../kubernetes/tests/policies/generate.rs"]
mod generate;
#[path = "../../kubernetes/tests/policies/tokens.rs"]
mod tokens;
#[path = "../../kubernetes/tests/policies/values.rs"]
mod values;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use headgate_contract::{FilterConfig, PolicyDefinition};
use headgate_core::host::Host;
use headgate_core::ports::{CasMismatch, Cells, Clock, Entropy};
use headgate_core::vm::{Stages, Vm};
use headgate_model::{
    Carrier, CarrierKey, CarrierMesh, LabelKeys, Objects, Pod, Policy, Registry, Scales, plan,
};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;

/// A proxy without streams: loading a configuration needs memory and a clock.
#[derive(Default)]
struct Proxy {
    memory: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    drawn: Cell<u64>,
}

impl Clock for Proxy {
    fn now(&self) -> u64 {
        1
    }
}

impl Entropy for Proxy {
    fn next(&self) -> u64 {
        self.drawn.set(self.drawn.get() + 1);
        self.drawn.get()
    }
}

impl Cells for Proxy {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.memory.borrow().get(key).cloned()
    }

    fn swap(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasMismatch> {
        let mut memory = self.memory.borrow_mut();
        let version = memory.get(key).map(|(_, version)| *version);
        if cas != version {
            return Err(CasMismatch);
        }
        let next = version.map_or(1, |version| version + 1);
        memory.insert(key.to_owned(), (value.to_vec(), next));
        Ok(())
    }
}

impl Host for Proxy {
    fn virtual_host(&self) -> Option<String> {
        None
    }

    fn served_version(&self) -> Option<String> {
        None
    }

    fn istio(&self, _: headgate_core::host::IstioProperty<'_>) -> Option<String> {
        None
    }

    fn peer_uri(&self) -> Option<String> {
        None
    }

    fn source_address(&self) -> Option<String> {
        None
    }

    fn jwt_claim(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn held_body(&self, _: usize, _: usize) -> Option<Vec<u8>> {
        None
    }

    fn request_headers_size(&self) -> Option<u32> {
        None
    }

    fn code_details(&self) -> Option<String> {
        None
    }

    fn status(&self) -> Option<u16> {
        None
    }

    fn upstream_address(&self) -> Option<String> {
        None
    }
}

/// Models with the names that the generator uses as targets.
fn fleet() -> Objects {
    let mut objects = Objects::default();
    for kind in ["service", "deployment"] {
        for name in ["llama", "a.b", "x-1", "0", "a--b", "gpt-4", "Llama_3.1"] {
            let key = CarrierKey {
                namespace: "default".to_owned(),
                kind: kind.to_owned(),
                name: name.to_owned(),
            };
            let model = if kind == "service" { "other" } else { name };
            let labels = [
                ("model-name", model),
                ("model-version", "v2.3.1-cuda118"),
                ("team", "red"),
            ];
            let pod = Pod::at(
                name.to_owned(),
                std::net::SocketAddr::from(([127, 0, 0, 1], 9)),
            );
            let carrier = Carrier {
                key: key.clone(),
                created: None,
                labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
                annotations: BTreeMap::new(),
                desired: 1,
                owner_replicas: BTreeMap::new(),
                pods: vec![pod],
                min_ready_seconds: 0,
                unready_reasons: Vec::new(),
                mesh: CarrierMesh::default(),
                origin: String::new(),
            };
            objects.carriers.insert(key, carrier);
        }
    }
    objects
}

/// The policy, if its spec is readable.
fn policy(kind: &str, spec: &Value) -> Option<Policy> {
    let definition = PolicyDefinition::find(kind)?;
    Some(Policy {
        namespace: "default".to_owned(),
        name: "generated".to_owned(),
        uid: String::new(),
        created: None,
        generation: 1,
        origin: String::new(),
        spec: definition.parse(spec.to_string().as_bytes()).ok()?,
    })
}

/// The filter configuration of a policy; `None` if the policy is unreadable.
fn configuration(kind: &str, spec: &Value) -> Option<FilterConfig> {
    let mut objects = fleet();
    objects.insert_policy(policy(kind, spec)?);
    let registry = Registry::build(&objects, &LabelKeys::default());
    let plan = plan(&registry, &objects, &Scales::default());
    let namespaces = plan.namespaces.into_iter();
    Some(FilterConfig {
        namespaces: namespaces.map(|(name, view)| (name, view.config)).collect(),
        ..FilterConfig::default()
    })
}

#[test]
fn the_filters_run_every_readable_policy() {
    let (led, read, unread) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config {
        cases: 3000,
        // Print a failing case completely.
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&generate::written(), |(kind, spec)| {
        let Some(config) = configuration(kind, &spec) else {
            unread.set(unread.get() + 1);
            return Ok(());
        };
        read.set(read.get() + 1);
        let rules = |c: &FilterConfig| {
            c.namespaces
                .values()
                .any(|n| !n.buckets.is_empty() || !n.tagging.is_empty())
        };
        led.set(led.get() + u32::from(rules(&config)));
        let refused = |why: String| TestCaseError::fail(format!("{why}: {spec}"));
        let json = config.emit().map_err(|error| refused(error.to_string()))?;
        let configured = Vm::new(Stages::ALL).configure(json.as_bytes(), &Proxy::default());
        configured.map_err(|error| refused(error.to_string()))
    });
    outcome.unwrap();
    println!(
        "{} are readable, {} of them reach the filters, {} are not readable",
        read.get(),
        led.get(),
        unread.get()
    );
    // A generator of only valid policies, only invalid ones, or only policies without a target would test nothing.
    assert!(unread.get() > 500 && read.get() > 500 && led.get() > read.get() / 2);
}
