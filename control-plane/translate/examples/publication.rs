//! Duration of a publication: a weight edit among many models, from objects to the snapshot of a scope.
//!
//! `cargo run --release -p headgate-translate --example publication [MODELS]`

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Instant;

use headgate_contract::names;
use headgate_model::{
    Carrier, CarrierKey, CarrierMesh, LabelKeys, Objects, Pod, Registry, Scales, plan,
};
use headgate_translate::{Cache, Code, Options, ScopeSpec, snapshot_with};

const EDITS: u8 = 20;

fn carrier(model: usize, version: &str, weight: Option<u8>) -> Carrier {
    let mut labels = BTreeMap::from([
        (names::LABEL_MODEL.to_owned(), format!("model-{model}")),
        (names::LABEL_VERSION.to_owned(), version.to_owned()),
    ]);
    labels.extend(weight.map(|w| (names::LABEL_WEIGHT.to_owned(), w.to_string())));
    let pods =
        (0..2u16).map(|n| Pod::at(format!("p{n}"), SocketAddr::from(([10, 0, 0, 1], 8000 + n))));
    Carrier {
        key: CarrierKey {
            namespace: "default".to_owned(),
            kind: "deployment".to_owned(),
            name: format!("model-{model}-{version}"),
        },
        created: None,
        labels,
        annotations: BTreeMap::new(),
        desired: 2,
        owner_replicas: BTreeMap::new(),
        pods: pods.collect(),
        min_ready_seconds: 0,
        unready_reasons: Vec::new(),
        mesh: CarrierMesh::default(),
        origin: String::new(),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let models = std::env::args().nth(1).map_or(Ok(2000), |n| n.parse())?;
    let mut objects = Objects::default();
    for model in 0..models {
        for carrier in [carrier(model, "v1", None), carrier(model, "v2", Some(10))] {
            objects.carriers.insert(carrier.key.clone(), carrier);
        }
    }
    let module = Code::File("/modules/headgate.wasm".to_owned());
    let domains = [("default".to_owned(), vec!["*".to_owned()])];
    let options = Options::new(module, domains);
    let scope = ScopeSpec {
        follow: false,
        mesh: None,
        namespaces: vec!["default".to_owned()],
        listen: "127.0.0.1:10000".parse()?,
        asks_over_quic: true,
    };
    let mut cache = Cache::default();
    let (mut planning, mut translating) = (Vec::new(), Vec::new());
    for edit in 0..EDITS {
        let edited = carrier(models / 2, "v2", Some(10 + edit));
        objects.carriers.insert(edited.key.clone(), edited);
        let start = Instant::now();
        let registry = Registry::build(&objects, &LabelKeys::default());
        let plan = plan(&registry, &objects, &Scales::default());
        let planned = Instant::now();
        let translated = snapshot_with(&mut cache, &plan, &scope, &options)?;
        planning.push(planned - start);
        translating.push(planned.elapsed());
        drop(translated);
    }
    for (what, mut times) in [("plan", planning), ("snapshot", translating)] {
        let first = times.remove(0);
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!(
            "{models} models, {what}: first {first:.1?}, then median {median:.1?}, worst {worst:.1?}"
        );
    }
    Ok(())
}
