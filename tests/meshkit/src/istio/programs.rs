//! The programs of Istio and their files, and the image of a proxy.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use headgate_testkit::envoy::find_envoy;

use super::MeshError;
use super::error::files;
use crate::command::installed;
use crate::pods::Image;

/// The variable that names the directory of the programs.
const VARIABLE: &str = "HEADGATE_ISTIO_PROGRAMS";
const TASK: &str = "mesh";
/// User of the proxies, as in Istio's own image.
const USER: u32 = 1337;
/// The bootstrap template of a proxy, in its container.
pub(super) const TEMPLATE: &str = "/var/lib/istio/envoy/bootstrap.json";
/// Envoy, in its container.
pub(super) const ENVOY: &str = "/usr/local/bin/envoy";

/// Envoy ends with its agent, also when that one is killed: in a container of a cluster, the process namespace would end both.
const ENVOY_SCRIPT: &str =
    "#!/bin/sh\nexec /.setpriv --pdeathsig KILL -- /usr/local/bin/envoy-server \"$@\"\n";

/// Paths on this machine.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    pub(super) istiod: PathBuf,
    pub(super) istioctl: PathBuf,
    /// The CustomResourceDefinitions.
    pub(super) definitions: PathBuf,
    /// The CustomResourceDefinitions of the Gateway API.
    pub(super) gateway_api: PathBuf,
    agent: PathBuf,
    template: PathBuf,
}

impl Programs {
    /// The installed programs.
    pub(super) fn find() -> Result<Self, MeshError> {
        let find = |name| installed(VARIABLE, TASK, name);
        Ok(Self {
            istiod: find("pilot-discovery")?,
            istioctl: find("istioctl")?,
            definitions: find("crd-all.gen.yaml")?,
            gateway_api: find("gateway-api.yaml")?,
            agent: find("pilot-agent")?,
            template: find("envoy_bootstrap.json")?,
        })
    }

    /// The image of a proxy, with files in `dir`. Its own listeners are on 127.0.0.1 instead of all interfaces, which it would share with
    /// all other proxies.
    pub(super) fn proxy(&self, dir: &Path) -> Result<Image, MeshError> {
        let template = std::fs::read_to_string(&self.template).map_err(files(&self.template))?;
        let template = template.replace("{{ .wildcard }}", "127.0.0.1");
        let path = dir.join("bootstrap.json");
        std::fs::write(&path, template).map_err(files(&path))?;
        let script = dir.join("envoy");
        std::fs::write(&script, ENVOY_SCRIPT).map_err(files(&script))?;
        let mode = Permissions::from_mode(0o755);
        std::fs::set_permissions(&script, mode).map_err(files(&script))?;
        Ok(Image::new("/usr/local/bin/pilot-agent", &self.agent)
            .with_user(USER)
            .with_file(TEMPLATE, path)
            .with_file(ENVOY, script)
            .with_file("/usr/local/bin/envoy-server", find_envoy()?)
            .with_file("/bin/sh", "/bin/sh"))
    }
}
