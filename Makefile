# Every task of the repository; `make help` lists them. A recipe has a line or two; anything longer is a script in tools/. Each
# task first installs what it needs, and skips what is already there.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

TOOLS := tools
# Runs a command with ENVOY and the rest of what `setup` installed in its environment.
WITH := $(TOOLS)/with
# Started as built, because `cargo run` of one package selects other features and builds half of it again.
DEMO := $(or $(CARGO_TARGET_DIR),target)/release/headgate-demo
DEMO_MESH := $(or $(CARGO_TARGET_DIR),target)/release/headgate-demo-mesh
BENCH := $(or $(CARGO_TARGET_DIR),target)/release/headgate-bench

# Where the demo listens. Set other addresses to run two side by side.
DEMOS := demo up down demo-k8s up-k8s down-k8s
$(DEMOS): export HEADGATE_XDS_ADDRESS ?= 127.0.0.1:18000
$(DEMOS): export HEADGATE_ADMIN_ADDRESS ?= 127.0.0.1:18001
$(DEMOS): export HEADGATE_ENVOY_ADDRESS ?= 127.0.0.1:10000
$(DEMOS): export HEADGATE_ENVOY_ADMIN_ADDRESS ?= 127.0.0.1:9901
$(DEMOS): export HEADGATE_MODEL_ADDRESSES ?= 127.0.0.1:8101,127.0.0.1:8102,127.0.0.1:8103,127.0.0.1:8104
$(DEMOS): export HEADGATE_KUBE_ADDRESS ?= 127.0.0.1:16443

.PHONY: help setup wasm oci build check test $(DEMOS) demo-mesh bench fuzz order schema clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what the tasks need, into a cache outside the repository (tools/setup NAME installs one part)
	@$(TOOLS)/setup test

wasm: ## build the filters: dist/{headgate,token-bucket,traffic-tag}.wasm
	@$(TOOLS)/setup wasm
	@$(TOOLS)/build-wasm

oci: ## pack the filters as OCI artifacts, with SBOMs, into dist/oci; REPOSITORY=HOST/PATH: also push them there
	@$(TOOLS)/setup wasm
	@$(TOOLS)/build-wasm
	@$(TOOLS)/build-oci $(REPOSITORY)

build: ## build the control plane (target/release/headgate)
	@$(TOOLS)/setup build
	cargo build --locked --release -p headgate

check: ## check formatting, lints, dependency arrows, links, licences, bans and sources
	@$(TOOLS)/setup check
	@$(TOOLS)/check

test: ## run make check, then every test; ends with `N passed, N failed`
	@$(TOOLS)/setup test
	@$(TOOLS)/run-tests

demo: ## check every claim on a real Envoy; every figure is measured in the run
	@$(TOOLS)/setup demo
	@$(TOOLS)/build-wasm
	@$(WITH) cargo build --locked --release -p headgate -p headgate-demo
	@$(WITH) $(DEMO)

up: ## start the demo's servers in the background; prints URLs and commands to try
	@$(TOOLS)/setup demo
	@$(TOOLS)/build-wasm
	@$(WITH) cargo build --locked --release -p headgate -p headgate-demo
	@$(WITH) $(DEMO) up

down: ## stop what `make up` or `make up-k8s` started
	@[ -x $(DEMO) ] || { $(TOOLS)/setup build; cargo build --locked --release -p headgate -p headgate-demo; }
	@$(DEMO) down

demo-k8s: ## the same on a real Kubernetes API: kubectl apply, label, rollout and scale
	@$(TOOLS)/setup demo kube
	@$(TOOLS)/build-wasm
	@$(WITH) cargo build --locked --release -p headgate -p headgate-demo
	@$(WITH) $(DEMO) --kubernetes

up-k8s: ## start a Kubernetes API with the demo in the background; prints a kubeconfig
	@$(TOOLS)/setup demo kube
	@$(TOOLS)/build-wasm
	@$(WITH) cargo build --locked --release -p headgate -p headgate-demo
	@$(WITH) $(DEMO) up --kubernetes

down-k8s: down ## stop what `make up-k8s` started (same as `make down`)

demo-mesh: ## the same in an Istio mesh: istiod, sidecars, a gateway; Headgate installed with kubectl
	@$(TOOLS)/setup demo mesh registry
	@$(TOOLS)/build-wasm
	@# First what `make demo` builds too: another set of packages means other features, and a second build.
	@$(WITH) cargo build --locked --release -p headgate -p headgate-demo
	@$(WITH) cargo build --locked --release -p headgate-testkit -p headgate-oci -p headgate-tests-mesh
	@$(WITH) $(DEMO_MESH)

bench: ## measure the filters against Envoy's own, and a cluster at full size; ARGS=--help lists options
	@$(TOOLS)/setup demo kube
	@$(TOOLS)/build-wasm
	@$(WITH) cargo build --locked --release -p headgate -p headgate-bench
	@$(WITH) $(BENCH) $(ARGS)

fuzz: ## feed random bytes to the parsers and the allocator, a minute for each target; ARGS=600: ten minutes
	@$(TOOLS)/setup fuzz
	@$(TOOLS)/fuzz $(ARGS)

order: ## write filters/order.txt: the functions that requests run, which come first in a module
	@$(TOOLS)/setup demo
	@$(TOOLS)/build-wasm
	@HEADGATE_WRITE_ORDER=1 $(WITH) cargo test --locked -q -p headgate-tests-abi --test order the_functions_that_requests_run_are_in_the_list
	@$(TOOLS)/build-wasm

schema: ## write the committed JSON schemas, references, CRDs and RBAC again
	@$(TOOLS)/setup build
	@$(TOOLS)/schema

clean: ## remove build output; the cache of tools stays
	cargo clean
	rm -rf dist
