//! The addresses of a testbed.
//!
//! Invariant: everything listens in 127.0.0.0/8 unless a variable names another address. The error for an occupied address names
//! the variable that moves it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use super::TestbedError;
use crate::ports::free_addr;

/// The variables that set the addresses, with their defaults.
const XDS: AddressVariable = AddressVariable("HEADGATE_XDS_ADDRESS", "127.0.0.1:18000");
const ADMIN: AddressVariable = AddressVariable("HEADGATE_ADMIN_ADDRESS", "127.0.0.1:18001");
const ENVOY: AddressVariable = AddressVariable("HEADGATE_ENVOY_ADDRESS", "127.0.0.1:10000");
const ENVOY_ADMIN: AddressVariable =
    AddressVariable("HEADGATE_ENVOY_ADMIN_ADDRESS", "127.0.0.1:9901");
const MODELS: AddressVariable = AddressVariable(
    "HEADGATE_MODEL_ADDRESSES",
    "127.0.0.1:8101,127.0.0.1:8102,127.0.0.1:8103,127.0.0.1:8104",
);
const KUBE: AddressVariable = AddressVariable("HEADGATE_KUBE_ADDRESS", "127.0.0.1:16443");

/// A variable and its default.
struct AddressVariable(&'static str, &'static str);

/// The addresses of a testbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// xDS port of the control plane.
    pub xds: SocketAddr,
    /// Admin port of the control plane.
    pub admin: SocketAddr,
    /// Traffic port of the first Envoy.
    pub envoy: SocketAddr,
    /// Admin port of the first Envoy; `None` lets the kernel choose.
    pub envoy_admin: Option<SocketAddr>,
    /// The shipped mock models, in the order of [`super::SHIPPED`]; empty if they run in pods.
    pub models: Vec<SocketAddr>,
    /// The Kubernetes API, if there is one; `None` lets the kernel choose.
    pub kube: Option<SocketAddr>,
}

impl Addresses {
    /// The xDS address as a command line sets it, with a space after it; empty if it is the default.
    #[must_use]
    pub fn xds_setting(&self) -> String {
        let AddressVariable(name, default) = XDS;
        match self.xds.to_string() {
            xds if xds == default => String::new(),
            xds => format!("{name}={xds} "),
        }
    }

    /// Free ports on 127.0.0.1. The ports of the mock models are 0 until they start.
    ///
    /// # Errors
    /// [`TestbedError::Files`] when no port is free.
    pub fn free() -> Result<Self, TestbedError> {
        let port = || free_addr().map_err(|source| TestbedError::files("a free port", source));
        Ok(Self {
            xds: port()?,
            admin: port()?,
            envoy: port()?,
            envoy_admin: None,
            models: vec![(Ipv4Addr::LOCALHOST, 0).into(); super::SHIPPED.len()],
            kube: None,
        })
    }

    /// The documented addresses, overridden by `HEADGATE_XDS_ADDRESS`, `HEADGATE_ADMIN_ADDRESS`, `HEADGATE_ENVOY_ADDRESS`,
    /// `HEADGATE_ENVOY_ADMIN_ADDRESS` and `HEADGATE_MODEL_ADDRESSES` (four, separated by commas).
    ///
    /// # Errors
    /// [`TestbedError::Setting`], which names the variable.
    pub fn from_env() -> Result<Self, TestbedError> {
        Self::from(|name| std::env::var(name).ok())
    }

    /// As [`Self::from_env`], for a testbed on a Kubernetes API (`HEADGATE_KUBE_ADDRESS`), whose models run in pods.
    ///
    /// # Errors
    /// [`TestbedError::Setting`], which names the variable.
    pub fn from_env_with_kube() -> Result<Self, TestbedError> {
        let lookup = |name: &str| std::env::var(name).ok();
        Ok(Self {
            models: Vec::new(),
            kube: Some(KUBE.one(&lookup)?),
            ..Self::from(lookup)?
        })
    }

    fn from(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, TestbedError> {
        let models = MODELS.all(&lookup)?;
        if models.len() != super::SHIPPED.len() {
            return Err(MODELS.error(format!(
                "{} addresses given, {} expected",
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

    /// Checks that each address can be bound now.
    ///
    /// # Errors
    /// [`TestbedError::AcceptedResources`] for the first that cannot, with its variable.
    pub fn check_free(&self) -> Result<(), TestbedError> {
        let one = |what: &'static str, addr: SocketAddr, by: &AddressVariable| (what, addr, by.0);
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
            bound.map_err(|why| TestbedError::AcceptedResources {
                what,
                addr: *addr,
                variable,
                why,
            })?;
        }
        Ok(())
    }
}

/// A program that another thread is starting briefly holds copies of all our sockets, also of closed ones. So a port counts as
/// occupied only if it stays so.
fn can_bind(addr: SocketAddr) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_millis(300);
    loop {
        // The standard library sets SO_REUSEADDR, so a connection in TIME_WAIT does not count as a listener.
        match TcpListener::bind(addr) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error.to_string()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The address at which a client reaches a listener.
pub(super) fn reachable(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        ip if ip.is_unspecified() => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), addr.port()),
        _ => addr,
    }
}

impl AddressVariable {
    fn one(&self, lookup: &impl Fn(&str) -> Option<String>) -> Result<SocketAddr, TestbedError> {
        match self.all(lookup)?.as_slice() {
            [addr] => Ok(*addr),
            _ => Err(self.error("expected one IP:PORT".into())),
        }
    }

    fn all(
        &self,
        lookup: &impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<SocketAddr>, TestbedError> {
        let text = lookup(self.0).unwrap_or_else(|| self.1.to_owned());
        text.split(',')
            .map(|part| {
                part.trim()
                    .parse()
                    .map_err(|_| self.error(format!("{part:?} is not IP:PORT, such as {}", self.1)))
            })
            .collect()
    }

    fn error(&self, why: String) -> TestbedError {
        TestbedError::Setting {
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
    fn the_documented_addresses_are_the_default() {
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
    fn the_error_for_an_invalid_variable_names_it() {
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
    fn the_error_for_an_occupied_port_names_its_variable() {
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
