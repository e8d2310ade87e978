//! Carriers as a service mesh sees them.

use serde_json::{Value, json};

use super::fixtures::*;

fn with_ports(mut service: Value, ports: Value) -> Value {
    service["spec"]["ports"] = ports;
    service
}

#[test]
fn a_service_without_pods_is_the_way_to_its_own_endpoints() {
    let http = json!([{"name": "http", "port": 80, "targetPort": 8000}]);
    let named = json!([{"name": "http", "port": 80, "targetPort": "web"}]);
    for (ports, expected) in [
        (http.clone(), vec![(80, 8000)]),
        (named, vec![(80, 80)]),
        (
            json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}]),
            vec![],
        ),
    ] {
        let gpu = with_ports(model(service("gpu-box", Value::Null), "v1"), ports);
        for declared in [false, true] {
            let key = headgate_contract::names::ANNOTATION_ENDPOINTS;
            let gpu = match declared {
                true => annotated(gpu.clone(), key, "10.1.0.1:8000"),
                false => gpu.clone(),
            };
            let mesh = carrier(&store(&[gpu]), "service/gpu-box").mesh;
            let services: Vec<_> = mesh
                .services
                .iter()
                .map(|service| (service.name.as_str(), service.selects_all))
                .collect();
            assert_eq!(services, [("gpu-box", true)]);
            let ports = mesh.services[0].ports.iter();
            let ports: Vec<_> = ports.map(|port| (port.number, port.target)).collect();
            assert_eq!(ports, expected);
        }
    }
}

#[test]
fn the_labels_of_pods_are_kept_once_without_those_of_one_pod() {
    let mut all = deployment("a", 1, &[1, 2]);
    all[0] = model(all[0].clone(), "v1");
    for (index, object) in all.iter_mut().enumerate().skip(2) {
        let labels = json!({"app": "a", "pod-template-hash": "aaa", "statefulset.kubernetes.io/pod-name": index.to_string()});
        *object = labelled(object.clone(), &labels);
    }
    let mesh = carrier(&store(&all), "deployment/a").mesh;
    let pods: Vec<_> = mesh.pods.iter().collect();
    let [labels] = pods[..] else {
        panic!("{pods:?}");
    };
    assert_eq!(labels.get("app").map(String::as_str), Some("a"));
    assert!(labels.keys().all(|key| !key.contains("pod")), "{labels:?}");
}
