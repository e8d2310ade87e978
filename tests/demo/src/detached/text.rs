//! The output of `up`: addresses, and commands to try.

use headgate_testkit::testbed::{Addresses, Source};

use super::state::State;

/// The addresses, and commands to try.
pub(super) fn instructions(source: Source, addresses: &Addresses, state: &State) -> String {
    let place = place(source, addresses, state);
    let lines = match source {
        Source::Files => with_files(addresses, state),
        Source::Kubernetes => with_kubectl(addresses, state),
    };
    let Addresses { envoy, admin, .. } = addresses;
    let (traffic, end) = (
        format!(
            "  # the version that serves a session: the same on every turn
  curl -si http://{envoy}/v1/chat/completions -H 'x-tenant-id: acme' -H 'x-session-id: s1' \\
    -d '{{\"model\":\"llama3-70b\",\"max_tokens\":16,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}' | grep -i '^x-model'
  # spend the free tier: 2000 tokens per tenant; the sixth request gets a 429
  curl -si http://{envoy}/v1/chat/completions -H 'x-tenant-id: acme' -H 'x-mock-tokens: 398' \\
    -d '{{\"model\":\"phi-3\",\"max_tokens\":398,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}' | grep -iE '^(HTTP|x-ratelimit|retry-after)'"
        ),
        format!(
            "  # the plan of the control plane, and what Envoy has acknowledged
  curl -s http://{admin}/syncz"
        ),
    );
    let down = format!("{}make down", addresses.xds_setting());
    format!("{place}\n\nTry:\n{traffic}\n{lines}\n{end}\n\nEnd it with `{down}`.")
}

fn place(source: Source, addresses: &Addresses, state: &State) -> String {
    let Addresses { envoy, admin, .. } = addresses;
    let (dir, envoy_admin) = (
        state.dir.display(),
        addresses
            .envoy_admin
            .map_or_else(String::new, |addr| format!("http://{addr}")),
    );
    let source = match source {
        Source::Files => format!("files           {dir}/models  {dir}/policies"),
        Source::Kubernetes => format!(
            "Kubernetes API  https://{}   (kubectl {})",
            addresses
                .kube
                .map_or_else(String::new, |addr| addr.to_string()),
            state.bin().join("kubectl").display()
        ),
    };
    format!(
        "\
Envoy           http://{envoy}   (admin {envoy_admin})
control plane   http://{admin}   (/syncz /config_dump /metrics)
{source}
logs            {dir}/*.log"
    )
}

fn with_files(addresses: &Addresses, state: &State) -> String {
    let (dir, admin) = (state.dir.display(), addresses.admin);
    let headgate = state.bin().join("headgate");
    format!(
        "  # a new weight, active within a second (`kubectl label --local` edits the file too); then what each proxy has acknowledged
  sed -i 's/canary-weight: .*/canary-weight: \"50\"/' {dir}/models/llama3-70b-v2.yaml
  {} status llama3-70b --admin-address {admin}",
        headgate.display()
    )
}

fn with_kubectl(addresses: &Addresses, state: &State) -> String {
    format!(
        "  # kubectl and headgate for this environment
  export KUBECONFIG={} HEADGATE_ADMIN_ADDRESS={} PATH={}:$PATH
  kubectl get deploy -L model-name,model-version,canary-weight
  kubectl get tokenbucketpolicies
  # a new weight, active within a second; then what each proxy has acknowledged
  kubectl label deploy/llama3-70b-v2 canary-weight=50 --overwrite
  headgate status llama3-70b
  kubectl describe deploy/llama3-70b-v2
  kubectl rollout restart deploy/llama3-70b-v1",
        state.kubeconfig().display(),
        addresses.admin,
        state.bin().display(),
    )
}
