//! Connection of `serve --kube`: kubeconfig as `kubectl` finds it, and the ServiceAccount in a pod.

use std::path::{Path, PathBuf};
use std::process::Command;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{Kube, Kubectl, crd, stateful_set};
use headgate_testkit::process::ProcessOptions;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::common::{SOON, Server, headgate};

/// The namespace of one context only; a control plane with that context has its Lease there.
const HOME: &str = "there";

fn read(kubeconfig: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(kubeconfig).unwrap()).unwrap()
}

/// A kubeconfig with two contexts: the current one has no server, and `there` is the API with the namespace [`HOME`].
fn two_contexts(kube: &Kube, dir: &Path) -> PathBuf {
    let mut config = read(kube.kubeconfig());
    let user = config["users"][0]["name"].clone();
    let (cluster, name) = (config["clusters"][0].clone(), "nowhere");
    config["clusters"] =
        json!([cluster, {"name": name, "cluster": {"server": "http://127.0.0.1:1"}}]);
    config["contexts"] = json!([
        {"name": name, "context": {"cluster": name, "user": user}},
        {"name": "there", "context": {"cluster": cluster["name"], "user": user, "namespace": HOME}},
    ]);
    config["current-context"] = name.into();
    let file = dir.join("two");
    std::fs::write(&file, config.to_string()).unwrap();
    file
}

/// A command in the environment of a user without any configuration.
fn of_user(options: ProcessOptions, home: &Path, kubeconfig: &str) -> ProcessOptions {
    options.env("HOME", home).env("KUBECONFIG", kubeconfig)
}

/// Checks that it is ready, serves the model, and has its Lease in the namespace of its context or ServiceAccount.
async fn serves(options: ProcessOptions, kubectl: &Kubectl, replica: &str, namespace: &str) {
    let server = Server::spawn(options).ready().await;
    let status = server.syncz().await;
    assert_eq!(status["models"][0]["model"], "llama", "{status}");
    let path = "jsonpath={.spec.holderIdentity}";
    let lease = ["get", "lease", replica, "-n", namespace, "-o", path];
    eventually(SOON, "its Lease", async || {
        let holder = kubectl
            .run(lease)
            .await
            .unwrap_or_else(|why| why.to_string());
        let ours = holder.starts_with(&format!("{replica}_"));
        ours.then_some(()).ok_or(holder)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_is_found_by_flag_variable_home_and_context_as_in_kubectl() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    kubectl.run(["create", "namespace", HOME]).await.unwrap();
    let home = TempDir::new().unwrap();
    let empty = TempDir::new().unwrap();
    std::fs::create_dir(home.path().join(".kube")).unwrap();
    std::fs::copy(cluster.kube.kubeconfig(), home.path().join(".kube/config")).unwrap();
    let two = two_contexts(&cluster.kube, home.path());
    let (two, admin) = (two.to_str().unwrap(), cluster.kube.kubeconfig());
    let admin = admin.to_str().unwrap();

    // The flags, $KUBECONFIG, the home directory, and the resulting namespace.
    let both = format!("{two}:{admin}");
    let cases: [(&str, &[&str], &str, &Path, &str); 6] = [
        ("variable", &["--kube"], admin, empty.path(), "default"),
        ("home", &["--kube"], "", home.path(), "default"),
        ("context", &["--context", "there"], two, empty.path(), HOME),
        (
            "file",
            &["--kubeconfig", two, "--context", "there"],
            "",
            empty.path(),
            HOME,
        ),
        (
            "flag-wins",
            &["--kubeconfig", admin],
            two,
            home.path(),
            "default",
        ),
        (
            "merged",
            &["--context", "headgate"],
            &both,
            empty.path(),
            "default",
        ),
    ];
    for (replica, flags, kubeconfig, home, namespace) in cases {
        let options = cluster
            .command(replica)
            .args(["-n", "default", "--lease-name", replica])
            .args(flags.iter().copied());
        serves(
            of_user(options, home, kubeconfig),
            &kubectl,
            replica,
            namespace,
        )
        .await;
    }

    // Without the flag the current context counts, which has no server. Without a configuration there is no API.
    for (kubeconfig, message) in [(two, "--context"), ("", "no Kubernetes API is configured")] {
        let dry = Command::new(env!("CARGO_BIN_EXE_headgate"))
            .args(["translate", "--kube"])
            .env("HOME", empty.path())
            .env("KUBECONFIG", kubeconfig)
            .env_remove("KUBERNETES_SERVICE_HOST")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&dry.stderr);
        assert!(
            dry.status.code() == Some(2) && error.contains(message),
            "{error}"
        );
    }
}

/// Mounts its first argument where a pod has the files of its ServiceAccount, in a private namespace, and executes the rest.
const AS_IN_A_POD: &str = r#"run=$(readlink -f /var/run) && mount -t tmpfs none "$run" &&
    mkdir -p /var/run/secrets/kubernetes.io && cp -r "$1" /var/run/secrets/kubernetes.io/serviceaccount && shift && exec "$@""#;

/// The same process in its own mount namespace.
fn in_a_pod(options: ProcessOptions, account: &Path, api: &str) -> ProcessOptions {
    let (host, port) = api.trim_start_matches("https://").split_once(':').unwrap();
    let mut inside = ProcessOptions::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            AS_IN_A_POD,
            "sh",
        ])
        .arg(account)
        .arg(&options.program)
        .args(options.args)
        .env("KUBERNETES_SERVICE_HOST", host)
        .env("KUBERNETES_SERVICE_PORT", port);
    inside.name = options.name;
    inside
}

/// Whether this machine allows mount namespaces. Without them the test of a pod is skipped.
fn pods_can_be_played() -> bool {
    let mount = [
        "--user",
        "--map-root-user",
        "--mount",
        "mount",
        "-t",
        "tmpfs",
        "none",
        "/mnt",
    ];
    Command::new("unshare")
        .args(mount)
        .output()
        .is_ok_and(|out| out.status.success())
}

/// The files that a pod gets from its ServiceAccount: token, CA and namespace.
fn mounted(kubeconfig: &Path, namespace: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let config = read(kubeconfig);
    let token = config["users"][0]["user"]["token"].as_str().unwrap();
    let authority = &config["clusters"][0]["cluster"]["certificate-authority"];
    std::fs::write(dir.path().join("token"), token).unwrap();
    std::fs::write(dir.path().join("namespace"), namespace).unwrap();
    std::fs::copy(authority.as_str().unwrap(), dir.path().join("ca.crt")).unwrap();
    dir
}

/// A custom kind that owns a StatefulSet of two pods, as its controller would create it.
async fn train(kubectl: &Kubectl) {
    let train = json!({
        "apiVersion": "acme.example/v1", "kind": "Train",
        "metadata": {"name": "night", "labels": {"model-name": "gemma", "model-version": "one"}},
        "spec": {"replicas": 3},
    });
    kubectl.apply(&train.to_string()).await.unwrap();
    let cars = stateful_set("none", "cars", "none", 2);
    kubectl.apply_owned("train/night", cars).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_pod_it_uses_the_service_account_and_the_printed_rights_cover_an_added_owner_kind() {
    if !pods_can_be_played() {
        eprintln!("not shown: this machine gives no process a file system of its own");
        return;
    }
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let own = crd("acme.example", "trains", "Train");
    kubectl.apply_crds(&own.to_string()).await.unwrap();
    train(&kubectl).await;
    let (namespace, kind) = (
        "headgate-system",
        "acme.example/v1/trains/Train=/spec/replicas",
    );
    kubectl
        .run(["create", "namespace", namespace])
        .await
        .unwrap();
    let printed = headgate(&["schema", "rbac", "--owner-kind", kind]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    kubectl.apply(&printed).await.unwrap();
    let account = cluster.kube.service_account(namespace, "headgate").await;
    let mounted = mounted(&account.unwrap(), namespace);

    let options =
        cluster
            .command("pod")
            .args(["--kube", "--owner-kind", kind, "--lease-name", "pod"]);
    let empty = TempDir::new().unwrap();
    let options = in_a_pod(options, mounted.path(), &cluster.kube.url());
    let server = Server::spawn(of_user(options, empty.path(), ""))
        .ready()
        .await;
    let ready = |are: u64, of: u64| {
        move |status: &Value| {
            let models = status["models"].as_array().into_iter().flatten();
            let mut carriers = models.filter_map(|m| m["carriers"].as_array()).flatten();
            carriers.any(|c| {
                c["carrier"] == "train default/night"
                    && c["ready"] == json!({"current": are, "total": of})
            })
        }
    };
    server.until("two of three of the train", ready(2, 3)).await;
    let patch = "{\"spec\":{\"replicas\":2}}";
    kubectl
        .run(["patch", "train/night", "--type=merge", "-p", patch])
        .await
        .unwrap();
    let status = server.until("two of two", ready(2, 2)).await;
    let problems = status["problems"].to_string();
    for reason in ["KubernetesApi", "MissingPermission", "KubernetesWrite"] {
        assert!(!problems.contains(reason), "{problems}");
    }
    // Its identity is the holder of a Lease in the namespace of its pod.
    let lease = ["get", "lease", "pod", "-n", namespace, "-o", "name"];
    eventually(SOON, "its Lease", async || kubectl.run(lease).await)
        .await
        .unwrap();
}
