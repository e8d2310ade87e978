//! A cluster on one machine: an API server, and a kubelet that runs its pods as processes.

use headgate_testkit::kube::{EmptyRuntime, Kube, Kubelet};

use super::{Images, ProcessRunner, Processes};

/// An API server whose pods run as processes.
pub struct ProcessCluster {
    /// The API server.
    pub kube: Kube,
    /// The processes of all pods.
    pub processes: Processes,
    _kubelet: Kubelet,
}

impl ProcessCluster {
    /// Runs the pods of an API server: containers of these images as processes. Pods without any of them count as ready at once.
    ///
    /// # Errors
    /// The operating system has no directory for the containers, or the certificate of the API server cannot be read.
    pub fn start(kube: Kube, images: Images) -> std::io::Result<Self> {
        let runner = ProcessRunner::new(&kube, images, EmptyRuntime::default())?;
        let processes = runner.processes();
        let kubelet = runner.start(&kube);
        Ok(Self {
            kube,
            processes,
            _kubelet: kubelet,
        })
    }
}
