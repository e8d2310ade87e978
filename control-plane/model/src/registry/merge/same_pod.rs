//! Pods that several carriers bring, on the same port or on different ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::{Address, Carrier, Pod};

/// For pods of workloads that older carriers select too: the endpoint of the older carrier, by the endpoint of this one, where they
/// differ.
pub(super) fn same_pods(older: &[&Carrier], carrier: &Carrier) -> BTreeMap<Address, Address> {
    let shares_an_owner = |older: &&&Carrier| {
        let mut owners = older.owner_replicas.keys();
        owners.any(|owner| carrier.owner_replicas.contains_key(owner))
    };
    let mut known: BTreeMap<(&str, IpAddr), &Address> = BTreeMap::new();
    let older = older.iter().filter(shares_an_owner);
    for pod in older.flat_map(|older| &older.pods) {
        if let Some(identity) = identity(pod) {
            known.entry(identity).or_insert(&pod.address);
        }
    }
    let different = carrier.pods.iter().filter_map(|pod| {
        let address = *known.get(&identity(pod)?)?;
        (*address != pod.address).then(|| (pod.address.clone(), address.clone()))
    });
    different.collect()
}

/// The endpoints of a carrier that are other ports of pods. Carriers before it bring a known endpoint of each of these pods.
pub(super) fn other_ports<'a>(
    before: &[&Carrier],
    carrier: &'a Carrier,
    known: &BTreeSet<Address>,
) -> BTreeSet<&'a Address> {
    let pods = before.iter().flat_map(|carrier| &carrier.pods);
    let pods = pods.filter(|pod| known.contains(&pod.address));
    let pods: BTreeSet<_> = pods.filter_map(identity).collect();
    let other_ports = carrier.pods.iter().filter(|pod| {
        let same_pod = identity(pod).is_some_and(|identity| pods.contains(&identity));
        same_pod && !known.contains(&pod.address)
    });
    other_ports.map(|pod| &pod.address).collect()
}

/// The identity of a pod within its namespace: name and IP address. An endpoint with a DNS name is not a pod.
fn identity(pod: &Pod) -> Option<(&str, IpAddr)> {
    match &pod.address {
        Address::Ip(address) => Some((&pod.name, address.ip())),
        Address::Name { .. } => None,
    }
}
