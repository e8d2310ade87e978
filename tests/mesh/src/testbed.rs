//! The testbed: a mesh, Headgate in it, a model and clients.

use std::path::Path;
use std::time::Duration;

use headgate_meshkit::istio::{Mesh, MeshOptions};
use headgate_meshkit::pods::{Image, Images, ProcessRunner, Processes};
use headgate_testkit::client::{HttpClient, HttpRequest, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{CommandOutput, EmptyRuntime, Kube, KubeOptions, Kubelet};
use headgate_testkit::ports::free_port;
use headgate_testkit::testbed::artifacts::{
    checkout, headgate_binary, mock_model_binary, wasm_module,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::collector::{self, Collector};
use crate::error::MeshTestbedError;
use crate::kustomization::Kustomization;
use crate::manifests;

/// Namespace of the models.
pub const MODELS: &str = "models";
/// Namespace of the clients.
pub const CLIENTS: &str = "default";
/// A client whose pod has the label and the module of the filter.
pub const CLIENT: &str = "client";
/// A client whose pod has neither.
pub const PLAIN_CLIENT: &str = "plain-client";
/// Namespace of the gateway.
pub const GATEWAYS: &str = "gateways";
/// Namespace of the models whose budgets are charged at the model server.
pub(crate) const INBOUND: &str = "inbound";
/// The host of the model, as clients in the mesh name it.
pub const HOST: &str = "llama3-70b.models.svc.cluster.local:8000";

/// Namespace of Headgate.
pub const SYSTEM: &str = "headgate-system";
/// The label of its pods.
pub const HEADGATE: &str = "app.kubernetes.io/name=headgate";

/// Deadline for what takes some seconds.
pub(crate) const SOON: Duration = Duration::from_secs(120);
/// How the name of the cluster of Headgate's xDS port begins.
const XDS_CLUSTER: &str = "outbound|18000|";

/// Options of a testbed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Arguments added to those of the Deployment.
    pub args: Vec<String>,
}

/// A mesh with Headgate in it.
pub struct MeshTestbed {
    /// The API server.
    pub kube: Kube,
    /// Istio.
    pub mesh: Mesh,
    /// The processes of all pods.
    pub processes: Processes,
    /// The port of the gateway on 127.0.0.1 that a Gateway and a VirtualService of Istio configure.
    pub gateway: u16,
    /// The port of the gateway on 127.0.0.1 that a Gateway and an HTTPRoute of the Gateway API configure.
    pub http_route: u16,
    /// The collector of spans.
    pub(crate) collector: Collector,
    _kubelet: Kubelet,
    dir: TempDir,
}

impl MeshTestbed {
    /// Starts the mesh, installs Headgate, and waits until its pods are ready.
    ///
    /// # Errors
    /// [`MeshTestbedError`], with the last lines of the logs where a pod is not ready in time.
    pub async fn start(options: &Options) -> Result<Self, MeshTestbedError> {
        let kube = Kube::start(KubeOptions::default()).await?;
        let mesh = MeshOptions {
            gateway_api: true,
            config: json!({ "extensionProviders": [manifests::access_log(), collector::provider()] }),
            ..MeshOptions::default()
        };
        let mesh = Mesh::start(&kube, mesh).await?;
        let module = wasm_module()?;
        let wasm = module.parent().unwrap_or(Path::new(".")).to_owned();
        let headgate =
            Image::new("/usr/bin/headgate", headgate_binary()?).with_file("/wasm", &wasm);
        let images = Images::default().with("headgate/headgate", headgate).with(
            "headgate/mock-model",
            Image::new("/mock-model", mock_model_binary()?),
        );
        let runner = ProcessRunner::new(&kube, images, EmptyRuntime::default())?;
        let runner = runner.with_injector(mesh.injector());
        let processes = runner.processes();
        let kubelet = runner.start(&kube);
        let testbed = Self {
            kube,
            mesh,
            processes,
            gateway: free_port()?,
            http_route: free_port()?,
            collector: Collector::start().await?,
            _kubelet: kubelet,
            dir: tempfile::tempdir()?,
        };
        testbed.apply(&manifests::namespaces()).await?;
        for namespace in [CLIENTS, GATEWAYS] {
            testbed.create_module(namespace, &module).await?;
        }
        testbed.install(options).await?;
        Ok(testbed)
    }

    /// `kubectl apply -k` of the shipped overlay, with the arguments of a kustomization of the user's own.
    async fn install(&self, options: &Options) -> Result<(), MeshTestbedError> {
        let allowed = [GATEWAYS, INBOUND];
        let allowed = allowed.map(|namespace| {
            format!("--allow-identity=spiffe://cluster.local/ns/{namespace}/sa/*")
        });
        let usual = [
            format!("--istio-gateways={GATEWAYS}"),
            format!("--domain={MODELS}=ai.example.com"),
        ];
        let args: Vec<String> = allowed.into_iter().chain(usual).collect();
        let own = Kustomization {
            overlay: "istio-sidecar",
            components: &["istio-access-log"],
            args: &[&args[..], &options.args].concat(),
            patches: "",
        };
        self.apply_kustomization(&own).await?;
        self.wait(SYSTEM, HEADGATE).await
    }

    /// `kubectl apply -k` of a kustomization of the user's own.
    ///
    /// # Errors
    /// The message of `kubectl`.
    pub(crate) async fn apply_kustomization(
        &self,
        own: &Kustomization<'_>,
    ) -> Result<(), MeshTestbedError> {
        let directory = own.write(self.dir.path())?;
        let directory = directory.to_string_lossy().into_owned();
        let kubectl = self.kube.kubectl();
        kubectl
            .run(["apply", "--server-side", "-k", &directory])
            .await?;
        Ok(())
    }

    /// The module as a ConfigMap, with its hash in the name of the file.
    pub(crate) async fn create_module(
        &self,
        namespace: &str,
        module: &Path,
    ) -> Result<(), MeshTestbedError> {
        let bytes = std::fs::read(module)?;
        let hash: String = Sha256::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let file = format!("--from-file=headgate-{hash}.wasm={}", module.display());
        let create = [
            "create",
            "configmap",
            "headgate-wasm",
            "-n",
            namespace,
            file.as_str(),
        ];
        self.kube.kubectl().run(create).await?;
        Ok(())
    }

    /// Runs a line of `kubectl` in the checkout, as the administrator.
    ///
    /// # Errors
    /// The message of `kubectl`.
    pub async fn kubectl(&self, line: &str) -> Result<CommandOutput, MeshTestbedError> {
        let kubectl = self.kube.kubectl().in_dir(&checkout()?);
        Ok(kubectl.run_line(line).await?)
    }

    /// The names of pods.
    ///
    /// # Errors
    /// The message of `kubectl`.
    pub async fn pods(
        &self,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<String>, MeshTestbedError> {
        let line = format!("kubectl get pod -n {namespace} -l {selector} -o name");
        let listed = self.kubectl(&line).await?.output;
        let names = listed.lines().map(|line| line.trim_start_matches("pod/"));
        Ok(names.map(str::to_owned).collect())
    }

    /// Ends the process of a container by SIGKILL; the kubelet starts it again.
    ///
    /// # Errors
    /// The container does not run.
    pub fn kill(&self, pod: &str, container: &str) -> Result<u32, MeshTestbedError> {
        let pid = self.processes.pid(pod, container);
        let raw = pid.and_then(|pid| i32::try_from(pid).ok());
        let process = raw.and_then(Pid::from_raw);
        let (Some(pid), Some(process)) = (pid, process) else {
            return Err(MeshTestbedError::Late(format!(
                "{container} of {pod} does not run"
            )));
        };
        kill_process(process, Signal::KILL).map_err(std::io::Error::from)?;
        Ok(pid)
    }

    /// What `headgate status` prints, asked from a replica.
    ///
    /// # Errors
    /// No replica is ready, or the command fails.
    pub async fn status(&self) -> Result<String, MeshTestbedError> {
        let line = format!(
            "kubectl get pod -n {SYSTEM} -l {HEADGATE} --field-selector=status.phase=Running \
             -o jsonpath={{.items[0].status.podIP}}"
        );
        let ip = self.kubectl(&line).await?.output;
        let mut command = tokio::process::Command::new(headgate_binary()?);
        command
            .arg("status")
            .env("HEADGATE_ADMIN_ADDRESS", format!("{ip}:18001"))
            .kill_on_drop(true);
        let output = command.output().await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(text),
            false => {
                let error = String::from_utf8_lossy(&output.stderr);
                Err(MeshTestbedError::Late(format!(
                    "headgate status: {error}{text}"
                )))
            }
        }
    }

    /// Applies objects.
    ///
    /// # Errors
    /// The message of `kubectl`.
    pub async fn apply(&self, objects: &[Value]) -> Result<(), MeshTestbedError> {
        for object in objects {
            self.kube.kubectl().apply(&object.to_string()).await?;
        }
        Ok(())
    }

    /// Deploys version `v1` of the model, its Service, another service, policies, two clients and a gateway.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub async fn deploy(&self) -> Result<(), MeshTestbedError> {
        self.apply(&[
            manifests::service("llama3-70b"),
            manifests::service("users"),
        ])
        .await?;
        self.apply(&[manifests::model("v1", None), manifests::other()])
            .await?;
        self.kubectl("kubectl apply -n models -f envoy-config/policies")
            .await?;
        self.apply(&manifests::client(CLIENT, true)).await?;
        self.apply(&manifests::client(PLAIN_CLIENT, false)).await?;
        self.apply(&manifests::gateway(self.gateway, self.http_route))
            .await?;
        self.apply(&manifests::http_route(self.http_route)).await?;
        for (namespace, selector) in [
            (MODELS, "app in (llama3-70b, users)"),
            (CLIENTS, "app in (client, plain-client)"),
            (GATEWAYS, "istio=ingressgateway"),
        ] {
            self.wait(namespace, selector).await?;
        }
        Ok(())
    }

    /// Deploys another version of the model.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub async fn deploy_version(
        &self,
        version: &str,
        weight: Option<&str>,
    ) -> Result<(), MeshTestbedError> {
        self.apply(&[manifests::model(version, weight)]).await?;
        self.wait(MODELS, "app=llama3-70b").await
    }

    /// `kubectl wait` until pods are ready.
    ///
    /// # Errors
    /// The message of `kubectl`, with the last lines of all pods.
    pub async fn wait(&self, namespace: &str, selector: &str) -> Result<(), MeshTestbedError> {
        let wait = ["wait", "-n", namespace, "pod", "-l", selector];
        let wait = wait
            .iter()
            .chain(&["--for=condition=Ready", "--timeout=120s"]);
        let waited = self.kube.kubectl().run(wait).await;
        waited
            .map(|_| ())
            .map_err(|error| MeshTestbedError::Late(self.with_logs(&error.to_string())))
    }

    /// A message with the last lines of all pods.
    #[must_use]
    pub fn with_logs(&self, message: &str) -> String {
        format!("{message}\n{}", self.processes.log_tails(12))
    }

    /// The number of streams by which a proxy (`namespace/pod`) receives the configuration of its filters from Headgate. Istio keeps no
    /// statistics of them, Envoy counts them as requests to the hosts of the cluster.
    ///
    /// # Errors
    /// The pod has no proxy; its Envoy does not answer.
    pub async fn config_streams(&self, pod: &str) -> Result<u64, MeshTestbedError> {
        let clusters = self.mesh.admin(pod)?.clusters().await;
        let clusters = clusters.map_err(|error| MeshTestbedError::Late(error.to_string()))?;
        let each = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
        let of_headgate = each(&clusters, "cluster_statuses")
            .into_iter()
            .filter(|cluster| {
                let name = cluster["name"].as_str().unwrap_or_default();
                name.starts_with(XDS_CLUSTER)
            });
        let stats = of_headgate
            .flat_map(|cluster| each(&cluster, "host_statuses"))
            .flat_map(|host| each(&host, "stats"))
            .filter(|stat| stat["name"] == "rq_active")
            .filter_map(|stat| stat["value"].as_str()?.parse::<u64>().ok());
        Ok(stats.sum())
    }

    /// The address at which programs of a client reach Services on port 8000.
    ///
    /// # Errors
    /// The pod has no proxy.
    pub fn outbound(&self, client: &str) -> Result<String, MeshTestbedError> {
        let outbound = self.mesh.proxy(&format!("{CLIENTS}/{client}"))?.outbound;
        Ok(format!("http://{outbound}:8000"))
    }

    /// The address of the gateway.
    #[must_use]
    pub fn ingress(&self) -> String {
        format!("http://127.0.0.1:{}", self.gateway)
    }

    /// The address of the gateway's port with an HTTPRoute.
    #[must_use]
    pub fn http_route(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_route)
    }

    /// A chat request to the model through the sidecar of a client.
    ///
    /// # Errors
    /// The client has no proxy.
    pub fn chat(&self, client: &str) -> Result<HttpRequest, MeshTestbedError> {
        let chat = OpenAiRequest::chat("llama3-70b").to(&self.outbound(client)?);
        Ok(chat.header("host", HOST))
    }

    /// Waits until requests through the client's sidecar and through both ports of the gateway are tagged.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn until_tagged(&self) -> Result<(), MeshTestbedError> {
        let sidecar = self.chat(CLIENT)?;
        let chat = OpenAiRequest::chat("llama3-70b").header("host", "ai.example.com");
        let (gateway, http_route) = (chat.to(&self.ingress()), chat.to(&self.http_route()));
        for request in [sidecar, gateway, http_route] {
            // The answer names the version that served before requests have one.
            let is_tagged = |reply: &Reply| {
                let body = reply.json().ok().filter(|_| reply.is_success());
                body.is_some_and(|body| body["mock"]["headers"]["x-model-version"].is_string())
            };
            self.until("a tagged response", || request.clone(), is_tagged)
                .await?;
        }
        Ok(())
    }

    /// Sends requests until a response fulfils a condition.
    ///
    /// # Errors
    /// The last response that did not, with the last lines of all pods.
    pub async fn until(
        &self,
        what: &str,
        request: impl Fn() -> HttpRequest,
        fulfils: impl Fn(&Reply) -> bool,
    ) -> Result<Reply, MeshTestbedError> {
        let found = eventually(SOON, what, async || {
            match HttpClient::new().send(request()).await {
                Ok(reply) if fulfils(&reply) => Ok(reply),
                Ok(reply) => Err(format!(
                    "{} {:?} {}",
                    reply.status,
                    reply.headers,
                    reply.text()
                )),
                Err(error) => Err(error.to_string()),
            }
        });
        found
            .await
            .map_err(|error| MeshTestbedError::Late(self.with_logs(&error.to_string())))
    }
}
