//! One pod: its volumes, its containers in order, and its end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_testkit::kube::{Node, PodReport};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt as _;
use kube::api::Api;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;

use super::atomic;
use super::container::{ContainerState, Life, Phase, Prepare, Restart, Runnable, States};
use super::environment::environment;
use super::error::Unable;
use super::expansion::{PodAddress, expand, on_pod_address};
use super::images::Image;
use super::objects::Objects;
use super::probes::Probes;
use super::root::{Mount, Privileges, Root};
use super::status::StatusWriter;
use super::volumes::{self, CREDENTIALS, CREDENTIALS_VOLUME, Volumes};

/// Default of `terminationGracePeriodSeconds`.
const GRACE: i64 = 30;
/// Interval in which ConfigMaps and Secrets of volumes are read again.
const REFRESH: Duration = Duration::from_secs(1);

/// A pod with everything that its containers need.
pub(super) struct PodRun {
    /// As in the API.
    pub(super) declared: Pod,
    /// With injected containers.
    pub(super) pod: Pod,
    pub(super) ip: IpAddr,
    /// Of the declared containers; see [`PodAddress`].
    pub(super) port_offset: u16,
    pub(super) objects: Objects,
    /// The image of each container that runs here; the others count as ready.
    pub(super) images: BTreeMap<String, Image>,
    /// Volumes and root directories; removed with the pod.
    pub(super) dir: PathBuf,
    /// Logs; they stay.
    pub(super) logs: PathBuf,
    pub(super) states: States,
    /// Written by the first container that needs them.
    pub(super) volumes: Mutex<Option<Volumes>>,
}

/// A started container that ends with the pod.
struct Started {
    is_sidecar: bool,
    stop: oneshot::Sender<Instant>,
}

impl PodRun {
    /// Runs the pod until `end` resolves, reports its status on each change, and removes it.
    pub(super) async fn run(self, node: &Node, end: oneshot::Receiver<()>) {
        let run = Arc::new(self);
        tokio::select! {
            () = run.drive(node, end) => {}
            never = run.report(node) => match never {},
            never = run.refresh() => match never {},
        }
        node.deliver(&run.pod, PodReport::Gone).await;
        run.remove_files();
    }

    async fn report(&self, node: &Node) -> std::convert::Infallible {
        let mut states = self.states.read();
        let mut writer = StatusWriter::default();
        loop {
            let status = {
                let states = states.borrow_and_update();
                writer.status(&self.declared, &self.pod, self.ip, &states)
            };
            node.deliver(&self.pod, PodReport::Status(status)).await;
            if states.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Writes changed ConfigMaps and Secrets to the volumes.
    async fn refresh(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(REFRESH).await;
            let Some(volumes) = self.volumes.lock().await.clone() else {
                continue;
            };
            for (name, data) in volumes::changeable(&self.pod, self.ip, &self.objects).await {
                if let Some(path) = volumes.get(&name)
                    && let Err(error) = atomic::write(path, &data)
                {
                    eprintln!("kubelet: {}: {error}", path.display());
                }
            }
        }
    }

    /// Starts the containers in order, waits for the end, and stops them: native sidecars start first and end last.
    async fn drive(self: &Arc<Self>, node: &Node, mut end: oneshot::Receiver<()>) {
        let mut tasks = JoinSet::new();
        let mut started: BTreeMap<String, Started> = BTreeMap::new();
        let spec = self.pod.spec.clone().unwrap_or_default();
        let init = spec.init_containers.iter().flatten();
        let init = init.map(|container| (container, true));
        let all = init.chain(spec.containers.iter().map(|container| (container, false)));
        let start = async {
            for (container, is_init) in all {
                if !self.images.contains_key(&container.name) {
                    continue;
                }
                let is_sidecar = is_init && container.restart_policy.as_deref() == Some("Always");
                let (stop, stopped) = oneshot::channel();
                started.insert(container.name.clone(), Started { is_sidecar, stop });
                let (run, container) = (Arc::clone(self), container.clone());
                let name = container.name.clone();
                tasks.spawn(async move {
                    let life = run.life(&container, is_init);
                    life.run(&*run, stopped).await;
                });
                if is_init {
                    self.wait_for(&name, |state| match state.phase {
                        Phase::Ended { code } => code == 0,
                        _ => is_sidecar && state.started,
                    })
                    .await;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = start => {}
            // A closed channel also means stop: the kubelet has forgotten the pod.
            _ = &mut end => {}
        }
        let deadline = Instant::now() + self.grace(node).await;
        for sidecars in [false, true] {
            let (now, later): (BTreeMap<_, _>, _) = std::mem::take(&mut started)
                .into_iter()
                .partition(|(_, one)| one.is_sidecar == sidecars);
            started = later;
            for (name, one) in now {
                // A container that has ended has dropped the receiver.
                if one.stop.send(deadline).is_ok() && !sidecars {
                    let ended = |state: &ContainerState| matches!(state.phase, Phase::Ended { .. });
                    self.wait_for(&name, ended).await;
                }
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Injected containers listen on their ports, the declared ones elsewhere.
    fn address(&self, container: &Container) -> PodAddress {
        let spec = self.declared.spec.iter();
        let mut declared = spec.flat_map(|spec| {
            let init = spec.init_containers.iter().flatten();
            init.chain(&spec.containers)
        });
        let is_declared = declared.any(|one| one.name == container.name);
        PodAddress {
            ip: self.ip,
            port_offset: if is_declared { self.port_offset } else { 0 },
        }
    }

    async fn wait_for(&self, name: &str, holds: impl Fn(&ContainerState) -> bool) {
        let mut states = self.states.read();
        // The sender lives as long as this pod.
        let _ = states
            .wait_for(|all| all.get(name).is_some_and(&holds))
            .await;
    }

    fn life(&self, container: &Container, is_init: bool) -> Life {
        let spec = self.pod.spec.as_ref();
        let restart = match spec.and_then(|spec| spec.restart_policy.as_deref()) {
            _ if container.restart_policy.as_deref() == Some("Always") => Restart::Always,
            Some("Never") => Restart::Never,
            Some("OnFailure") => Restart::OnFailure,
            _ if is_init => Restart::OnFailure,
            _ => Restart::Always,
        };
        Life {
            address: self.address(container),
            restart,
            grace: seconds(spec.and_then(|spec| spec.termination_grace_period_seconds)),
            log: self.logs.join(format!("{}.log", container.name)),
            states: self.states.clone(),
            container: container.clone(),
        }
    }

    /// The grace period of the deletion, which its client may have changed.
    async fn grace(&self, node: &Node) -> Duration {
        let namespace = self.pod.namespace().unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(node.client().clone(), &namespace);
        let found = pods.get_opt(&self.pod.name_any()).await;
        let deleted = found.ok().flatten();
        let deleted = deleted.and_then(|pod| pod.metadata.deletion_grace_period_seconds);
        let spec = self.pod.spec.as_ref();
        let declared = spec.and_then(|spec| spec.termination_grace_period_seconds);
        seconds(deleted.or(declared))
    }

    fn privileges(&self, container: &Container, image: &Image) -> Result<Privileges, Unable> {
        let pod = self.pod.spec.clone().unwrap_or_default();
        let pod = pod.security_context.unwrap_or_default();
        let own = container.security_context.clone().unwrap_or_default();
        let id = |value: Option<i64>| value.and_then(|id| u32::try_from(id).ok());
        let user = id(own.run_as_user.or(pod.run_as_user)).unwrap_or(image.user);
        let non_root = own.run_as_non_root.or(pod.run_as_non_root).unwrap_or(false);
        if non_root && user == 0 {
            return Err(Unable::config(
                "container has runAsNonRoot and image will run as root",
            ));
        }
        Ok(Privileges {
            user,
            group: id(own.run_as_group.or(pod.run_as_group)).unwrap_or(user),
            read_only_root: own.read_only_root_filesystem.unwrap_or(false),
        })
    }

    async fn mounts(&self, container: &Container) -> Result<Vec<Mount>, Unable> {
        let mut written = self.volumes.lock().await;
        let volumes = match &mut *written {
            Some(volumes) => volumes,
            None => {
                let dir = self.dir.join("volumes");
                std::fs::create_dir_all(&dir).map_err(Unable::machine)?;
                let volumes = volumes::write(&self.pod, self.ip, &self.objects, &dir).await?;
                written.insert(volumes)
            }
        };
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            let name = &mount.name;
            let unknown = || Unable::config(format!("there is no volume {name}"));
            let mut source = volumes.get(name).ok_or_else(unknown)?.clone();
            if let Some(path) = &mount.sub_path {
                source.push(path);
            }
            mounts.push(Mount {
                source,
                target: PathBuf::from(&mount.mount_path),
                read_only: mount.read_only.unwrap_or(false),
            });
        }
        let taken = mounts
            .iter()
            .any(|mount| mount.target == Path::new(CREDENTIALS));
        if let Some(source) = volumes.get(CREDENTIALS_VOLUME).filter(|_| !taken) {
            mounts.push(Mount {
                source: source.clone(),
                target: PathBuf::from(CREDENTIALS),
                read_only: true,
            });
        }
        Ok(mounts)
    }

    /// Removes volumes and root directories, unless something is still mounted there.
    fn remove_files(&self) {
        let mounted = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        if !mounted.contains(&*self.dir.to_string_lossy()) {
            // What stays is removed with the directory of the kubelet.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

impl Prepare for PodRun {
    async fn prepare(&self, container: &Container) -> Result<Runnable, Unable> {
        let image = self
            .images
            .get(&container.name)
            .ok_or_else(|| Unable::config("the image has no entry in the table of images"))?;
        if container.working_dir.is_some() {
            return Err(Unable::config("workingDir is not supported here"));
        }
        let address = self.address(container);
        let variables = environment(&self.pod, container, address, &self.objects).await?;
        let words = words(container, image, &variables, address)?;
        let privileges = self.privileges(container, image)?;
        let mounts = self.mounts(container).await?;
        let dir = self.dir.join("containers").join(&container.name);
        let root = Root::new(dir, image, mounts, privileges, &self.pod.name_any())?;
        let pairs = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        Ok(Runnable {
            command: root.command(&words, &variables),
            probes: Probes::of(container, address)?,
            privileges,
            variables: pairs.collect(),
        })
    }
}

/// The command line: the manifest's command, else the image's entry point.
fn words(
    container: &Container,
    image: &Image,
    variables: &BTreeMap<String, String>,
    address: PodAddress,
) -> Result<Vec<String>, Unable> {
    let given = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    let (command, args) = (given(&container.command), given(&container.args));
    let entrypoint = image.entrypoint.to_string_lossy().into_owned();
    let mut words = match (command.is_empty(), args.is_empty()) {
        (true, true) => [vec![entrypoint], image.args.clone()].concat(),
        (true, false) => [vec![entrypoint], args].concat(),
        (false, _) => [command, args].concat(),
    };
    let program = Path::new(&words[0]);
    let name = image.entrypoint.file_name();
    if !(image.has(program) || program.components().count() == 1 && program.file_name() == name) {
        let program = program.display();
        return Err(Unable::config(format!(
            "the image has no program {program}"
        )));
    }
    for word in &mut words {
        let expanded = expand(word, |name| variables.get(name).cloned());
        *word = on_pod_address(&expanded, address);
    }
    Ok(words)
}

fn seconds(grace: Option<i64>) -> Duration {
    Duration::from_secs(u64::try_from(grace.unwrap_or(GRACE)).unwrap_or(0))
}
