//go:build tools

// Package tools lists the programs of SPIRE for tests and demos. Nothing imports it; it makes `go mod tidy` keep their modules in
// go.mod.
package tools

import (
	_ "github.com/spiffe/spire/cmd/spire-agent"
	_ "github.com/spiffe/spire/cmd/spire-server"
)
