//! Facts about pods of an Istio mesh: the own pod of a proxy, and the versions of workloads.

use std::cell::OnceCell;

use headgate_contract::{ModelPlan, VersionShare};

use crate::host::{Host, IstioProperty};

/// This proxy's pod in an Istio mesh. It does not change, so each property is read once.
#[derive(Debug, Default)]
pub(crate) struct OwnPod {
    namespace: OnceCell<Option<String>>,
    version: OnceCell<Option<String>>,
    workload: OnceCell<Option<String>>,
}

impl OwnPod {
    /// Its namespace.
    pub(crate) fn namespace(&self, host: &dyn Host) -> Option<&str> {
        read_once(&self.namespace, host, IstioProperty::NodeNamespace)
    }

    /// Its version, by the label with this key.
    pub(crate) fn version(&self, host: &dyn Host, label: &str) -> Option<&str> {
        read_once(&self.version, host, IstioProperty::NodeLabel(label))
    }

    /// Its workload.
    pub(crate) fn workload(&self, host: &dyn Host) -> Option<&str> {
        read_once(&self.workload, host, IstioProperty::NodeWorkload)
    }
}

#[inline(never)]
fn read_once<'a>(
    cell: &'a OnceCell<Option<String>>,
    host: &dyn Host,
    property: IstioProperty<'_>,
) -> Option<&'a str> {
    cell.get_or_init(|| host.istio(property)).as_deref()
}

/// The versions of each carrier, as `kind/name` and the name of the version.
#[derive(Debug)]
pub(crate) struct CarrierVersions(Vec<(String, String)>);

impl CarrierVersions {
    pub(crate) fn new(plan: &ModelPlan) -> Self {
        let mut all = Vec::new();
        let mut add = |carrier: &str, versions: &[VersionShare]| {
            for share in versions {
                all.push((carrier.to_owned(), share.version.as_str().to_owned()));
            }
        };
        for share in &plan.canaries {
            add(&share.carrier, &share.versions);
        }
        for share in &plan.base {
            add(&share.carrier, &share.versions);
        }
        for dark in &plan.dark {
            add(&dark.carrier, &dark.versions);
        }
        Self(all)
    }

    /// The version of a workload; `None` if it has several, or is no carrier.
    #[inline(never)]
    pub(crate) fn of_workload(&self, workload: &str) -> Option<&str> {
        let mut found = None;
        for (carrier, version) in &self.0 {
            let kind = carrier.strip_suffix(workload);
            if kind.is_none_or(|kind| !kind.ends_with('/')) {
                continue;
            }
            if found.is_some_and(|known| known != version) {
                return None;
            }
            found = Some(version);
        }
        found.map(String::as_str)
    }
}
