//go:build tools

// Package tools lists the programs of an Istio mesh for tests and demos. Nothing imports it; it makes `go mod tidy` keep their modules
// in go.mod.
package tools

import (
	_ "istio.io/istio/istioctl/cmd/istioctl"
	_ "istio.io/istio/pilot/cmd/pilot-agent"
	_ "istio.io/istio/pilot/cmd/pilot-discovery"
)
