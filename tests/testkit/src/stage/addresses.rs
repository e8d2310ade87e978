//! Where everything of a stage listens.
//!
//! Invariant: nothing listens outside of 127.0.0.0/8 unless somebody asks for it by name; a taken address is reported with the
//! variable that moves it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use super::StageError;
use crate::ports::free_addr;

/// Variables that move the addresses, with what they are without.
const XDS: Setting = Setting("HEADGATE_XDS_ADDRESS", "127.0.0.1:18000");
const ADMIN: Setting = Setting("HEADGATE_ADMIN_ADDRESS", "127.0.0.1:18001");
const ENVOY: Setting = Setting("HEADGATE_ENVOY_ADDRESS", "127.0.0.1:10000");
const ENVOY_ADMIN: Setting = Setting("HEADGATE_ENVOY_ADMIN_ADDRESS", "127.0.0.1:9901");
const MODELS: Setting = Setting(
    "HEADGATE_MODEL_ADDRESSES",
    "127.0.0.1:8101,127.0.0.1:8102,127.0.0.1:8103,127.0.0.1:8104",
);
const KUBE: Setting = Setting("HEADGATE_KUBE_ADDRESS", "127.0.0.1:16443");

/// A variable and its default.
struct Setting(&'static str, &'static str);

/// Where everything of a stage listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The control plane, for proxies.
    pub xds: SocketAddr,
    /// The control plane, for people.
    pub admin: SocketAddr,
    /// The first Envoy's traffic.
    pub envoy: SocketAddr,
    /// The first Envoy's admin interface; `None` lets the kernel choose.
    pub envoy_admin: Option<SocketAddr>,
    /// The shipped mock models, in the order of [`super::SHIPPED`]; none where they run in pods.
    pub models: Vec<SocketAddr>,
    /// The Kubernetes API, where there is one; `None` lets the kernel choose.
    pub kube: Option<SocketAddr>,
}

impl Addresses {
    /// Free ports on 127.0.0.1. The mock models choose theirs when they start: until then it is 0.
    ///
    /// # Errors
    /// [`StageError::Files`] when there are none.
    pub fn free() -> Result<Self, StageError> {
        let port = || free_addr().map_err(|source| StageError::files("a free port", source));
        Ok(Self {
            xds: port()?,
            admin: port()?,
            envoy: port()?,
            envoy_admin: None,
            models: vec![(Ipv4Addr::LOCALHOST, 0).into(); super::SHIPPED.len()],
            kube: None,
        })
    }

    /// The documented addresses, moved by `HEADGATE_XDS_ADDRESS`, `HEADGATE_ADMIN_ADDRESS`, `HEADGATE_ENVOY_ADDRESS`,
    /// `HEADGATE_ENVOY_ADMIN_ADDRESS` and `HEADGATE_MODEL_ADDRESSES` (four, with commas).
    ///
    /// # Errors
    /// [`StageError::Setting`] that names the variable.
    pub fn from_env() -> Result<Self, StageError> {
        Self::from(|name| std::env::var(name).ok())
    }

    /// As [`Self::from_env`], for a world on a Kubernetes API (`HEADGATE_KUBE_ADDRESS`), whose models are in pods.
    ///
    /// # Errors
    /// [`StageError::Setting`] that names the variable.
    pub fn from_env_with_kube() -> Result<Self, StageError> {
        let lookup = |name: &str| std::env::var(name).ok();
        Ok(Self {
            models: Vec::new(),
            kube: Some(KUBE.one(&lookup)?),
            ..Self::from(lookup)?
        })
    }

    fn from(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, StageError> {
        let models = MODELS.all(&lookup)?;
        if models.len() != super::SHIPPED.len() {
            return Err(MODELS.error(format!(
                "{} addresses are given: write {}",
                models.len(),
                super::SHIPPED.len()
            )));
        }
        Ok(Self {
            xds: XDS.one(&lookup)?,
            admin: ADMIN.one(&lookup)?,
            envoy: ENVOY.one(&lookup)?,
            envoy_admin: Some(ENVOY_ADMIN.one(&lookup)?),
            models,
            kube: None,
        })
    }

    /// Whether each of them can be bound now.
    ///
    /// # Errors
    /// [`StageError::Taken`], naming the first that cannot and its variable.
    pub fn check_free(&self) -> Result<(), StageError> {
        let one = |what: &'static str, addr: SocketAddr, by: &Setting| (what, addr, by.0);
        let mut all = vec![
            one("the control plane's xDS port", self.xds, &XDS),
            one("the control plane's admin port", self.admin, &ADMIN),
            one("Envoy's traffic port", self.envoy, &ENVOY),
        ];
        all.extend(
            self.envoy_admin
                .map(|a| one("Envoy's admin port", a, &ENVOY_ADMIN)),
        );
        all.extend(
            self.models
                .iter()
                .map(|a| one("a mock model's port", *a, &MODELS)),
        );
        all.extend(
            self.kube
                .map(|a| one("the Kubernetes API's port", a, &KUBE)),
        );
        for (at, (what, addr, variable)) in all.iter().enumerate() {
            let twice = all[..at].iter().any(|(_, other, _)| other == addr);
            let bound = if twice {
                Err("it is given twice".to_owned())
            } else {
                can_bind(*addr)
            };
            bound.map_err(|why| StageError::Taken {
                what,
                addr: *addr,
                variable,
                why,
            })?;
        }
        Ok(())
    }
}

/// A program that is just being started by another thread holds a copy of every socket of ours for a moment, also of
/// one that we have closed: a port counts as taken when it stays so.
fn can_bind(addr: SocketAddr) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_millis(300);
    loop {
        // The standard library sets SO_REUSEADDR: a connection that lingers is no listener.
        match TcpListener::bind(addr) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error.to_string()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Where a client reaches what listens there.
pub(super) fn reachable(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        ip if ip.is_unspecified() => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), addr.port()),
        _ => addr,
    }
}

impl Setting {
    fn one(&self, lookup: &impl Fn(&str) -> Option<String>) -> Result<SocketAddr, StageError> {
        match self.all(lookup)?.as_slice() {
            [addr] => Ok(*addr),
            _ => Err(self.error("write one IP:PORT".into())),
        }
    }

    fn all(&self, lookup: &impl Fn(&str) -> Option<String>) -> Result<Vec<SocketAddr>, StageError> {
        let text = lookup(self.0).unwrap_or_else(|| self.1.to_owned());
        text.split(',')
            .map(|part| {
                part.trim()
                    .parse()
                    .map_err(|_| self.error(format!("{part:?} is not IP:PORT, such as {}", self.1)))
            })
            .collect()
    }

    fn error(&self, why: String) -> StageError {
        StageError::Setting {
            variable: self.0,
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn without_variables_the_documented_addresses_are_meant() {
        let addresses = Addresses::from(|_| None).unwrap();
        let ports: Vec<u16> = addresses.models.iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [8101, 8102, 8103, 8104]);
        assert_eq!(
            (addresses.xds.port(), addresses.admin.port()),
            (18000, 18001)
        );
        assert_eq!(addresses.envoy_admin.unwrap().port(), 9901);
    }

    #[test]
    fn a_setting_that_cannot_be_read_is_named() {
        for (variable, value) in [
            ("HEADGATE_XDS_ADDRESS", "localhost"),
            ("HEADGATE_ENVOY_ADDRESS", "127.0.0.1:1,127.0.0.1:2"),
            ("HEADGATE_MODEL_ADDRESSES", "127.0.0.1:1"),
        ] {
            let lookup = |name: &str| (name == variable).then(|| value.to_owned());
            let error = Addresses::from(lookup).unwrap_err().to_string();
            assert!(error.contains(variable), "{error}");
        }
    }

    #[test]
    fn a_taken_port_is_named_with_the_variable_that_moves_it() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut addresses = Addresses::free().unwrap();
        addresses.models.clear();
        addresses.check_free().unwrap();
        addresses.envoy = holder.local_addr().unwrap();
        let error = addresses.check_free().unwrap_err().to_string();
        assert!(error.contains("HEADGATE_ENVOY_ADDRESS"), "{error}");
        addresses.envoy = addresses.xds;
        let error = addresses.check_free().unwrap_err().to_string();
        assert!(error.contains("given twice"), "{error}");
    }
}
