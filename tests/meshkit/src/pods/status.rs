//! The status of a pod, as the kubelet reports it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::container::{ContainerState, Phase};

/// Statuses of one pod. It remembers when each condition changed.
#[derive(Debug, Default)]
pub(super) struct StatusWriter {
    started: Option<String>,
    conditions: BTreeMap<&'static str, (bool, String)>,
}

impl StatusWriter {
    /// The status now. Containers without a state do not run here; they count as ready. Injected ones have no row, but count too.
    pub(super) fn status(
        &mut self,
        declared: &Pod,
        pod: &Pod,
        ip: IpAddr,
        states: &BTreeMap<String, ContainerState>,
    ) -> Value {
        let now = Timestamp::now().to_string();
        let started = self.started.get_or_insert_with(|| now.clone()).clone();
        let spec = pod.spec.clone().unwrap_or_default();
        let declared = declared.spec.clone().unwrap_or_default();
        let init = spec.init_containers.unwrap_or_default();
        let listed = |containers: &[k8s_openapi::api::core::v1::Container]| -> Vec<Value> {
            let row = |container: &k8s_openapi::api::core::v1::Container| {
                let image = container.image.as_deref().unwrap_or_default();
                row(
                    &container.name,
                    image,
                    states.get(&container.name),
                    &started,
                )
            };
            containers.iter().map(row).collect()
        };
        let initialized = init.iter().all(|container| {
            states
                .get(&container.name)
                .is_none_or(|state| match state.phase {
                    Phase::Ended { code } => code == 0,
                    _ => state.started,
                })
        });
        let main = || spec.containers.iter().map(|c| states.get(&c.name));
        let sidecars = init
            .iter()
            .filter(|container| container.restart_policy.is_some())
            .map(|container| states.get(&container.name));
        let ready = main()
            .chain(sidecars)
            .all(|state| state.is_none_or(|state| state.ready));
        let codes: Option<Vec<i32>> = main()
            .map(|state| match state?.phase {
                Phase::Ended { code } => Some(code),
                _ => None,
            })
            .collect();
        let running = main().any(|state| {
            state.is_none_or(|state| {
                state.restarts > 0 || matches!(state.phase, Phase::Running { .. })
            })
        });
        let phase = match codes {
            Some(codes) if codes.iter().all(|code| *code == 0) => "Succeeded",
            Some(_) => "Failed",
            None if running => "Running",
            None => "Pending",
        };
        let ready = ready && initialized;
        let mut condition = |kind: &'static str, holds: bool| {
            let (held, since) = self
                .conditions
                .entry(kind)
                .or_insert_with(|| (holds, now.clone()));
            if *held != holds {
                (*held, *since) = (holds, now.clone());
            }
            let status = if holds { "True" } else { "False" };
            json!({"type": kind, "status": status, "lastTransitionTime": since})
        };
        json!({
            "phase": phase,
            "startTime": started,
            "hostIP": ip,
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [
                condition("PodScheduled", true),
                condition("Initialized", initialized),
                condition("ContainersReady", ready),
                condition("Ready", ready),
            ],
            "initContainerStatuses": listed(&declared.init_containers.unwrap_or_default()),
            "containerStatuses": listed(&declared.containers),
        })
    }
}

/// The row of one container.
fn row(name: &str, image: &str, state: Option<&ContainerState>, since: &str) -> Value {
    let (current, ready, started, restarts) = match state {
        None => (json!({"running": {"startedAt": since}}), true, true, 0),
        Some(state) => {
            let current = match &state.phase {
                Phase::Waiting { reason, message } => {
                    json!({"waiting": {"reason": reason, "message": message}})
                }
                Phase::Running { .. } => json!({"running": {"startedAt": since}}),
                Phase::Ended { code } => json!({"terminated": {
                    "exitCode": code,
                    "reason": if *code == 0 { "Completed" } else { "Error" },
                }}),
            };
            (current, state.ready, state.started, state.restarts)
        }
    };
    let mut row = json!({
        "name": name,
        "image": image,
        "imageID": "",
        "ready": ready,
        "started": started,
        "restartCount": restarts,
        "state": current,
    });
    if let Some((code, reason)) = state.and_then(|state| state.last) {
        row["lastState"] = json!({"terminated": {"exitCode": code, "reason": reason}});
    }
    row
}
