//! Objects of files that are read and skipped, and the remarks of `validate` on whole manifests.

use headgate_model::FileProblem;
use headgate_model::Observed;
use headgate_model::{LabelKeys, Severity};
use headgate_source::files::remarks;

use super::{LLAMA, observe, problems, reducer};

#[test]
fn objects_of_other_kinds_and_kustomizations_are_skipped_without_a_problem() {
    let others = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {build: 7}}\n---\n\
                  {apiVersion: batch/v1, kind: Job, metadata: {generateName: j-}}\n---\n"
        .to_owned();
    let mut reducer = reducer();
    reducer.apply("m.yaml", (others + LLAMA).as_bytes(), 1);
    // A file of another kind needs neither kind nor name.
    let resources = b"resources: [m.yaml]\nimages: [{name: x, newTag: 1.10}]\n";
    reducer.apply("models/kustomization.yaml", resources, 1);
    let observed = reducer.observe(&Observed::default()).unwrap();
    assert_eq!(problems(&observed), [""; 0]);
    assert_eq!(observed.objects.carriers.len(), 1);
    assert_eq!(reducer.unrelated("m.yaml"), Some("ConfigMap c, Job"));
    let passed = reducer.unrelated("models/kustomization.yaml");
    assert_eq!(passed, Some("Kustomization"));
    let many: String = (0..9)
        .map(|n| format!("{{apiVersion: v1, kind: Secret, metadata: {{name: s{n}}}}}\n---\n"))
        .collect();
    reducer.apply("m.yaml", many.as_bytes(), 2);
    let passed = reducer.unrelated("m.yaml").unwrap();
    assert_eq!(
        passed,
        "Secret s0, Secret s1, Secret s2, Secret s3, Secret s4 and 4 more"
    );
}

#[test]
fn a_workload_without_labels_is_a_warning_and_labels_on_its_template_alone_get_advice() {
    let bare = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n";
    let observed = observe(&[("m.yaml", bare)]);
    assert_eq!(observed.problems[0].severity, Severity::Warning);
    assert!(problems(&observed)[0].starts_with("m.yaml: Deployment default/d is ignored"));
    let template =
        format!("{bare}spec: {{template: {{metadata: {{labels: {{model-name: m}}}}}}}}\n");
    let messages = problems(&self::observe(&[("m.yaml", &template)])).join("\n");
    assert!(
        messages.contains("Only its pod template has the label")
            && messages.contains("`metadata.labels`"),
        "{messages}"
    );
}

#[test]
fn a_version_and_a_weight_without_a_model_are_a_finding() {
    let text = LLAMA.replace("model-name: llama, ", "");
    assert_ne!(text, LLAMA);
    let observed = observe(&[("m.yaml", &text)]);
    assert_eq!(problems(&observed), [""; 0]);
    let finding = &observed.findings[0];
    assert_eq!(
        (finding.reason, finding.origin.as_str()),
        ("NoModel", "m.yaml")
    );
    assert!(
        finding
            .message
            .contains("kubectl label deployment/llama-v2"),
        "{}",
        finding.message
    );
}

#[test]
fn a_number_in_place_of_a_text_is_reported_as_it_is_written() {
    for (written, json) in [
        ("1.10", false),
        ("1e3", false),
        ("0x10", false),
        ("yes", false),
        ("1.10", true),
    ] {
        let (file, text) = if json {
            (
                "m.json",
                format!(
                    "{{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{{\"name\":\"a\",\"labels\":{{\"model-name\":\"m\",\"model-version\":{written}}}}}}}"
                ),
            )
        } else {
            (
                "m.yaml",
                format!(
                    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n    model-name: m\n    model-version: {written}\n"
                ),
            )
        };
        let messages = problems(&observe(&[(file, &text)])).join("\n");
        let expected =
            format!("metadata.labels.model-version: must be text: write \"{written}\", in quotes");
        assert!(messages.contains(&expected), "{written}: {messages}");
    }
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: s}}\n\
                - {apiVersion: v1, kind: Pod, metadata: {name: a, labels: {model-name: m, model-version: 2.0}}}\n";
    let template = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, labels: {model-name: m, model-version: v}}\n\
                    spec: {template: {metadata: {labels: {model-version: 1.20}}}}\n";
    for (text, expected) in [
        (
            list,
            "items[1].metadata.labels.model-version: must be text: write \"2.0\"",
        ),
        (
            template,
            "spec.template.metadata.labels.model-version: must be text: write \"1.20\"",
        ),
    ] {
        let messages = problems(&observe(&[("m.yaml", text)])).join("\n");
        assert!(messages.contains(expected), "{messages}");
    }
}

/// Each line repeats the previous one ten times: a billion nodes in 400 bytes.
fn bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..9 {
        let ten = vec![format!("*a{}", n - 1); 10].join(", ");
        text += &format!("a{n}: &a{n} [{ten}]\n");
    }
    text
}

#[test]
fn an_alias_bomb_is_refused_at_once_and_frees_its_memory() {
    // Repetitions of a long text have few nodes.
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1 << 20),
        vec!["*a"; 2000].join(", ")
    );
    // One for each document.
    let many = vec![bomb(); 200].join("---\n");
    let before = resident();
    for text in [bomb(), long, many] {
        let started = std::time::Instant::now();
        let mut reducer = reducer();
        reducer.apply("m.yaml", text.as_bytes(), 1);
        let observed = reducer.observe(&Observed::default()).unwrap();
        assert!(
            problems(&observed)[0].contains("is not YAML"),
            "{:?}",
            problems(&observed)
        );
        assert!(
            started.elapsed() < std::time::Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }
    let kept = resident().saturating_sub(before);
    assert!(kept < 64 << 20, "{kept} bytes stay");
    // Common uses of aliases are valid.
    let shared = LLAMA.replace("labels:", "labels: &l").to_owned()
        + "---\n{apiVersion: v1, kind: Pod, metadata: &m {name: p, labels: {model-name: m, model-version: v}}, x: *m}\n";
    assert_eq!(problems(&observe(&[("m.yaml", &shared)])), [""; 0]);
}

/// The memory of this process in bytes; 0 if unknown.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_usize) * 4096
}

/// A workload with these ports and this metadata of its template, and more documents.
fn remarked(ports: &str, template: &str, more: &str) -> Vec<FileProblem> {
    let text = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a, labels: {{model-name: m, model-version: v}}}}\n\
         spec:\n  template:\n    metadata: {{labels: {{app: a}}, {template}}}\n    spec:\n      containers:\n      - {{name: s, ports: [{ports}]}}\n\
         ---\n{more}"
    );
    let files = [("m.yaml".to_owned(), text.into_bytes())];
    remarks(&files, "default", &LabelKeys::default()).problems
}

#[test]
fn a_template_without_a_serving_port_or_with_an_inferred_one_gets_a_remark() {
    let api = "{name: api, containerPort: 8000}";
    let unnamed = "{name: container-port, containerPort: 8000}";
    let http = "{name: http-openai, containerPort: 8000}";
    let metrics = "{name: http-metrics, containerPort: 9090}";
    let udp = "{name: http, containerPort: 8000, protocol: UDP}";
    let grpc = "{name: grpc, containerPort: 9000}";
    let other = "{name: http-v2, containerPort: 8001}";
    let own = "{name: http, containerPort: 8002}";
    let annotated = |text: &str| format!("annotations: {{headgate.dev/port: '{text}'}}");
    let service = |more: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: f}}, spec: {{selector: {{app: a}}, ports: [{more}]}}}}\n"
        )
    };
    let both = |one: &str, two: &str| format!("{one}, {two}");
    let none = String::new;
    for (ports, template, more, message) in [
        (http.to_owned(), none(), none(), ""),
        (both(http, metrics), none(), none(), ""),
        (both(http, grpc), none(), none(), ""),
        (both(api, grpc), none(), none(), ""),
        (
            both(http, other),
            none(),
            none(),
            "they declare 8000 and 8001, and it is not known which one serves",
        ),
        (format!("{http}, {other}, {own}"), none(), none(), ""),
        // By the port names of NIM and Ray Serve.
        (api.to_owned(), none(), none(), ""),
        (both(api, metrics), none(), none(), ""),
        (
            both(api, "{name: queueadm, containerPort: 8001}"),
            none(),
            none(),
            "",
        ),
        (
            unnamed.to_owned(),
            none(),
            none(),
            "`container-port` (8000) is the only declared port",
        ),
        (
            "{containerPort: 8000}".to_owned(),
            none(),
            none(),
            "8000 (without a name) is the only declared port",
        ),
        (
            metrics.to_owned(),
            none(),
            none(),
            "no port serves on Kubernetes: `http-metrics` (9090) has a name that never serves",
        ),
        (
            both(unnamed, metrics),
            none(),
            none(),
            "`container-port` (8000) is the only declared port",
        ),
        (
            both(unnamed, other).replace("http-v2", "rpc-port"),
            none(),
            none(),
            "they declare 8000 and 8001, and it is not known which one serves",
        ),
        (udp.to_owned(), none(), none(), "`http` (8000) is not TCP"),
        (none(), none(), none(), "no port is declared"),
        (both(api, metrics), annotated("api"), none(), ""),
        (both(api, metrics), annotated("8000"), none(), ""),
        (
            both(api, metrics),
            annotated("8001"),
            none(),
            "`headgate.dev/port: \"8001\"` matches no TCP port",
        ),
        (
            both(api, metrics),
            none(),
            service("{port: 80, targetPort: api}"),
            "",
        ),
        (both(api, metrics), none(), service("{port: 8000}"), ""),
        // A Service without a matching port has no influence.
        (
            both(unnamed, metrics),
            none(),
            service("{port: 80, targetPort: web}"),
            "is the only declared port",
        ),
        (
            both(unnamed, metrics),
            none(),
            service("{name: metrics, port: 8000}"),
            "is the only declared port",
        ),
        (
            both(unnamed, metrics),
            none(),
            service("{port: 8000}").replace("app: a", "app: b"),
            "is the only declared port",
        ),
        (both(unnamed, metrics), none(), service("{port: 8000}"), ""),
    ] {
        let found = remarked(&ports, &template, &more);
        let messages: Vec<&str> = found.iter().map(|p| p.message.as_str()).collect();
        if message.is_empty() {
            assert_eq!(messages, [""; 0], "{ports} {template} {more}");
        } else {
            assert_eq!(messages.len(), 1, "{ports} {template} {more}: {messages:?}");
            assert!(messages[0].contains(message), "{message} in {messages:?}");
            assert_eq!(found[0].path, "spec.template.spec.containers");
            let inferred = messages[0].contains("the port is inferred");
            let expected = if inferred {
                Severity::Info
            } else {
                Severity::Warning
            };
            assert_eq!(found[0].severity, expected);
        }
    }
}

#[test]
fn a_native_sidecar_declares_ports_and_another_init_container_does_not() {
    let with = |policy: &str| {
        let init = format!(
            "\n      initContainers:\n      - {{name: proxy, {policy} ports: [{{name: http, containerPort: 8000}}]}}"
        );
        let text = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a, labels: {model-name: m, model-version: v}}\n\
                    spec:\n  template:\n    spec:\n      containers: [{name: s}]".to_owned() + &init;
        let files = [("m.yaml".to_owned(), text.into_bytes())];
        remarks(&files, "default", &LabelKeys::default())
            .problems
            .len()
    };
    assert_eq!((with("restartPolicy: Always,"), with("")), (0, 1));
}

#[test]
fn annotations_of_templates_and_of_objects_that_are_not_carriers_get_remarks() {
    let found = remarked(
        "{name: http, containerPort: 1}",
        "annotations: {headgate.dev/ports: '1'}",
        "{apiVersion: v1, kind: Service, metadata: {name: f, annotations: {headgate.dev/join: x}}}\n",
    );
    let messages: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].starts_with("m.yaml (document 1): spec.template.metadata.annotations: annotation `headgate.dev/ports` of its pods"), "{messages:?}");
    assert!(
        messages[1].starts_with(
            "m.yaml (document 2): metadata.annotations: annotation `headgate.dev/join: \"x\"`"
        ),
        "{messages:?}"
    );
}

#[test]
fn a_model_label_on_a_kind_that_is_not_watched_gets_a_remark_with_advice() {
    let labels = "labels: {model-name: m, model-version: v}";
    let pods = format!("template: {{metadata: {{{labels}}}, spec: {{containers: [{{name: s}}]}}}}");
    let object = |version: &str, kind: &str, metadata: &str, spec: &str| {
        format!(
            "{{apiVersion: {version}, kind: {kind}, metadata: {{name: a, {metadata}}}, spec: {{{spec}}}}}"
        )
    };
    let messages = |text: String| -> Vec<(String, Severity, String)> {
        let files = [("m.yaml".to_owned(), text.into_bytes())];
        let all = remarks(&files, "default", &LabelKeys::default())
            .problems
            .into_iter();
        all.map(|p| (p.path, p.severity, p.message)).collect()
    };
    let nested = format!("jobTemplate: {{spec: {{{pods}}}}}");
    for (text, path, severity, words) in [
        (
            object("batch/v1", "Job", labels, "template: {}"),
            "metadata.labels",
            Severity::Warning,
            ["it has no effect", "whose pods end. Label a Deployment"],
        ),
        (
            object("batch/v1", "Job", "", &pods),
            "spec.template.metadata.labels",
            Severity::Warning,
            [
                "each of its pods is a separate carrier",
                "or a Service that selects",
            ],
        ),
        (
            object("batch/v1", "CronJob", "", &nested),
            "spec.jobTemplate.spec.template.metadata.labels",
            Severity::Warning,
            ["each of its pods is a separate carrier", "on a CronJob"],
        ),
        (
            object(
                "v1",
                "ReplicationController",
                labels,
                "template: {spec: {}}",
            ),
            "metadata.labels",
            Severity::Warning,
            [
                "it has no effect",
                "--owner-kind /v1/PLURAL/ReplicationController",
            ],
        ),
        (
            object("v1", "ConfigMap", labels, ""),
            "metadata.labels",
            Severity::Info,
            ["it has no effect", "Label a Deployment or a Service"],
        ),
    ] {
        let found = messages(text);
        let [(at, how, message)] = &found[..] else {
            panic!("{path}: {found:?}");
        };
        assert_eq!((at.as_str(), *how), (path, severity));
        for words in words {
            assert!(message.contains(words), "{message}");
        }
    }
    let endpoints = format!("{labels}, annotations: {{headgate.dev/endpoints: '127.0.0.1:1'}}");
    for text in [
        object("batch/v1", "Job", "", "template: {}"),
        object("my.org/v1", "Server", &endpoints, ""),
        object("apps/v1", "StatefulSet", labels, ""),
        object("headgate.dev/v1alpha1", "ServedModel", labels, ""),
    ] {
        assert_eq!(messages(text), []);
    }
}
