//! The rights that the access table needs: list and watch for each watched kind, and the verbs of each written resource.
//!
//! Invariant: a function of the configuration. A row needs only the verbs that are used.

use std::collections::BTreeSet;
use std::fmt;

use super::account::Account;
use super::qualified::qualified;
use super::table;
use super::write_permissions::{self, Place};
use crate::kinds::Kind;

/// The verbs of a watched kind. A streamed list needs `watch` only; an API server without streamed lists needs both.
const READ: &[&str] = &["list", "watch"];

/// The configuration that the rights depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Kinds that may own pods.
    pub kinds: Vec<Kind>,
    /// Whether policies are read from the Kubernetes API.
    pub policies: bool,
    /// Namespaces with models; empty for the whole cluster.
    pub namespaces: Vec<String>,
    /// The namespace whose policies apply to all namespaces.
    pub root_namespace: Option<String>,
    /// The namespace that the control plane runs in.
    pub own_namespace: String,
    /// The use of Istio's objects.
    pub mesh: MeshAccess,
    /// Whether tokens of clients of the admin port are reviewed.
    pub reviews_tokens: bool,
}

/// The use of Istio's objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum MeshAccess {
    /// None.
    #[default]
    None,
    /// They are read.
    Read,
    /// They are read and written, also in these namespaces of proxies.
    Write(Vec<String>),
}

/// A right that the control plane uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural and subresource, as in paths of the API: `pods`, `tokenbucketpolicies/status`.
    pub resource: String,
    /// The verbs that are used.
    pub verbs: &'static [&'static str],
    /// The namespace; `None` for all.
    pub namespace: Option<String>,
    /// The role that grants it.
    pub role: Role,
    /// The purpose.
    pub why: &'static str,
}

/// A role of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Models and policies.
    Models,
    /// What replicas use among themselves.
    Replicas,
    /// Objects of Istio.
    Mesh,
    /// Clients of the admin port.
    Clients,
}

/// A verb of a right that was not granted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// `deployments.apps`, `tokenbucketpolicies.headgate.dev/status`.
    pub resource: String,
    /// The verb.
    pub verb: &'static str,
    /// The namespace; `None` for all.
    pub namespace: Option<String>,
    /// The role that grants it.
    pub role: Role,
    /// The purpose.
    pub why: &'static str,
}

impl Needs {
    /// Every right that is used, in the order of the access table.
    #[must_use]
    pub fn rights(&self) -> Vec<Right> {
        let carriers = table::carriers(&self.kinds).into_iter();
        let carriers = carriers.map(|(_, of)| (Place::Models, of));
        let policies = table::policies().filter(|_| self.policies);
        let policies = policies.map(|(_, of)| (Place::Policies, of));
        let models = [(Place::Models, table::models())];
        let mesh = table::istio().map(|of| (Place::Mesh, of)).into_iter();
        let mesh = mesh.filter(|_| self.mesh != MeshAccess::None);
        let read = carriers
            .chain(policies)
            .chain(models)
            .chain(mesh)
            .flat_map(|(place, of)| {
                let (group, resource) = (of.resource.group, of.resource.plural);
                self.at(place, group, resource, READ, of.why)
            });
        let writes_mesh = matches!(self.mesh, MeshAccess::Write(_));
        let written = write_permissions::all()
            .filter(|row| self.policies || !row.of_policies())
            .filter(|row| writes_mesh || !row.of_mesh())
            .filter(|row| self.reviews_tokens || !row.of_tokens());
        let written = written.flat_map(|row| {
            let (group, resource) = (row.group.to_owned(), row.resource.clone().into_owned());
            self.at(row.place, group, resource, row.verbs, row.why)
        });
        read.chain(written).collect()
    }

    fn at(
        &self,
        place: Place,
        group: String,
        resource: String,
        verbs: &'static [&'static str],
        why: &'static str,
    ) -> Vec<Right> {
        let right = |namespace: Option<String>| Right {
            group: group.clone(),
            resource: resource.clone(),
            verbs,
            namespace,
            role: match place {
                Place::Own => Role::Replicas,
                Place::Mesh => Role::Mesh,
                Place::Cluster => Role::Clients,
                Place::Models | Place::Policies | Place::Everywhere => Role::Models,
            },
            why,
        };
        if place == Place::Own {
            return vec![right(Some(self.own_namespace.clone()))];
        }
        if self.namespaces.is_empty() || place == Place::Cluster {
            return vec![right(None)];
        }
        let root = self.root_namespace.iter();
        let root = root.filter(|_| !matches!(place, Place::Models | Place::Mesh));
        let proxies = match &self.mesh {
            MeshAccess::Write(namespaces) if place == Place::Mesh => namespaces.as_slice(),
            _ => &[],
        };
        let own = Some(&self.own_namespace).filter(|_| place == Place::Everywhere);
        let models = self.namespaces.iter();
        let namespaces: BTreeSet<&String> = models.chain(root).chain(own).chain(proxies).collect();
        namespaces
            .into_iter()
            .map(|namespace| right(Some(namespace.clone())))
            .collect()
    }

    /// The command that prints a role, for a ServiceAccount of this name; `None` for the default name. The role of the mesh has a
    /// command of its own, because an overlay adds it.
    #[must_use]
    pub fn command(&self, role: Role, account: Option<&str>) -> String {
        let namespaces = self.namespaces.iter();
        let namespaces = namespaces.map(|namespace| format!(" --namespace {namespace}"));
        let account = account
            .filter(|name| *name != Account::DEFAULT_NAME)
            .map(|name| format!(" --service-account {name}"));
        let of_role = match role {
            Role::Mesh => self.words_of_mesh(),
            Role::Models | Role::Replicas | Role::Clients => self.words_of_models(),
        };
        let words = namespaces.chain(of_role).chain(account);
        format!(
            "headgate schema rbac{} --install-namespace {}",
            words.collect::<String>(),
            self.own_namespace
        )
    }

    fn words_of_models(&self) -> Vec<String> {
        let usual = Kind::defaults();
        let own = self.kinds.iter().filter(|kind| !usual.contains(kind));
        let named = |name: &str| self.kinds.iter().any(|kind| kind.kind == name);
        let left_out = usual.iter().filter(|kind| !named(&kind.kind));
        let root = self.root_namespace.iter();
        let root = root.map(|root| format!(" --root-namespace {root}"));
        root.chain(own.map(|kind| format!(" --owner-kind {kind}")))
            .chain(left_out.map(|kind| format!(" --no-owner-kind {}", kind.kind)))
            .chain(self.reviews_tokens.then(|| " --admin-tokens".to_owned()))
            .collect()
    }

    fn words_of_mesh(&self) -> Vec<String> {
        match &self.mesh {
            MeshAccess::None => Vec::new(),
            MeshAccess::Read => vec![" --istio=watch".to_owned()],
            MeshAccess::Write(proxies) => {
                let is_everywhere = self.namespaces.is_empty() || proxies.is_empty();
                let proxies = format!(" --istio-clients {}", proxies.join(","));
                let proxies = (!is_everywhere).then_some(proxies);
                [" --istio".to_owned()].into_iter().chain(proxies).collect()
            }
        }
    }
}

impl Right {
    /// `deployments.apps`, `tokenbucketpolicies.headgate.dev/status`: as `kubectl auth can-i` takes it.
    #[must_use]
    pub fn qualified(&self) -> String {
        qualified(&self.group, &self.resource)
    }

    /// Each verb of the right, as a missing right.
    pub fn each(&self) -> impl Iterator<Item = Missing> + '_ {
        self.verbs.iter().map(|verb| Missing {
            verb,
            resource: self.qualified(),
            namespace: self.namespace.clone(),
            role: self.role,
            why: self.why,
        })
    }
}

/// `may not list deployments.apps in namespace red`.
impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "may not {} {}", self.verb, self.resource)?;
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => f.write_str(" in every namespace"),
        }
    }
}
