//go:build tools

// Package tools names the programs of a real Kubernetes API that tests and demos start. Nothing imports it: it only makes
// `go mod tidy` keep their modules, at the versions of go.mod.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
