//go:build tools

// Package tools lists the programs of the Kubernetes API for tests and demos. Nothing imports it; it makes `go mod tidy` keep their
// modules in go.mod.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
