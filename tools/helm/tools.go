//go:build tools

// Package tools lists the programs that check the Helm chart. Nothing imports it; it makes `go mod tidy` keep their modules in go.mod.
package tools

import (
	_ "helm.sh/helm/v4/cmd/helm"
)
