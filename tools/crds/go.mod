// CustomResourceDefinitions of other projects, which the shipped manifests use: `tools/setup crds` copies them.
module headgate.dev/tools/crds

go 1.26.0

require (
	github.com/cert-manager/cert-manager v1.21.2
	github.com/prometheus-operator/prometheus-operator v0.85.0
	istio.io/api v1.32.0
)
