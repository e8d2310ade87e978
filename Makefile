# Every task of the repository; `make help` lists them. A recipe stays a line or two: what needs more is a
# script in tools. Each task first installs what it needs, and skips what is there.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

TOOLS := tools
# Runs a command with ENVOY and the rest of what `setup` installed in its environment.
WITH := $(TOOLS)/with
# Called as built: `cargo run` of one package alone would choose other features and build half of it again.
DEMO := $(or $(CARGO_TARGET_DIR),target)/release/headgate-demo
BENCH := $(or $(CARGO_TARGET_DIR),target)/release/headgate-bench

# Where the demo listens. Set other addresses to run two side by side.
DEMOS := demo up down demo-k8s up-k8s down-k8s
$(DEMOS): export HEADGATE_XDS_ADDRESS ?= 127.0.0.1:18000
$(DEMOS): export HEADGATE_ADMIN_ADDRESS ?= 127.0.0.1:18001
$(DEMOS): export HEADGATE_ENVOY_ADDRESS ?= 127.0.0.1:10000
$(DEMOS): export HEADGATE_ENVOY_ADMIN_ADDRESS ?= 127.0.0.1:9901
$(DEMOS): export HEADGATE_MODEL_ADDRESSES ?= 127.0.0.1:8101,127.0.0.1:8102,127.0.0.1:8103,127.0.0.1:8104
$(DEMOS): export HEADGATE_KUBE_ADDRESS ?= 127.0.0.1:16443

.PHONY: help setup wasm build check test $(DEMOS) bench fuzz order schema clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what the tasks need into a cache outside the repository
	@$(TOOLS)/setup test

wasm: ## build the filters into dist/{headgate,token-bucket,traffic-tag}.wasm
	@$(TOOLS)/setup wasm
	@$(TOOLS)/build-wasm

build: ## build the control plane (target/release/headgate)
	@$(TOOLS)/setup build
	cargo build --locked --release -p headgate

check: ## formatting, lints, dependency arrows, licences, bans and sources
	@$(TOOLS)/setup check
	@$(TOOLS)/check

test: ## make check, then every test; ends with `N passed, N failed`
	@$(TOOLS)/setup test
	@$(TOOLS)/run-tests

demo: ## the whole story on a real Envoy, every figure measured in the run
	@$(TOOLS)/setup demo
	@$(TOOLS)/build-wasm
	@$(WITH) cargo build --locked --release -p headgate -p headgate-demo
	@$(WITH) $(DEMO)

up: ## the demo's servers, left running: prints URLs and curl lines to try
	@$(TOOLS)/setup demo
	@$(TOOLS)/build-wasm
	@$(WITH) cargo build --locked --release -p headgate -p headgate-demo
	@$(WITH) $(DEMO) up

down: ## end what `make up` or `make up-k8s` started
	@[ -x $(DEMO) ] || { $(TOOLS)/setup build; cargo build --locked --release -p headgate -p headgate-demo; }
	@$(DEMO) down

demo-k8s: ## the story on a real Kubernetes API: kubectl apply, label, rollout and scale, measured
	@$(TOOLS)/setup demo kube
	@$(TOOLS)/build-wasm
	@$(WITH) cargo build --locked --release -p headgate -p headgate-demo
	@$(WITH) $(DEMO) --kubernetes

up-k8s: ## that Kubernetes API and the demo on it, left running: prints a kubeconfig and lines to try
	@$(TOOLS)/setup demo kube
	@$(TOOLS)/build-wasm
	@$(WITH) cargo build --locked --release -p headgate -p headgate-demo
	@$(WITH) $(DEMO) up --kubernetes

down-k8s: down ## end what `make up-k8s` started (`make down` does too)

bench: ## the filters' cost against Envoy's own, and a cluster at full size; ARGS="--only cluster", ARGS=--help
	@$(TOOLS)/setup demo kube
	@$(TOOLS)/build-wasm
	@$(WITH) cargo build --locked --release -p headgate -p headgate-bench
	@$(WITH) $(BENCH) $(ARGS)

fuzz: ## random bytes for the parsers, one minute for each target; ARGS=600 for ten
	@$(TOOLS)/setup fuzz
	@$(TOOLS)/fuzz $(ARGS)

order: ## write filters/order.txt anew: the functions that requests run, which come first in a module
	@$(TOOLS)/setup demo
	@$(TOOLS)/build-wasm
	@HEADGATE_WRITE_ORDER=1 $(WITH) cargo test --locked -q -p headgate-tests-abi --test order what_a_request_runs_is_in_the_list
	@$(TOOLS)/build-wasm

schema: ## write the committed JSON schemas, reference, definitions and rights anew
	@$(TOOLS)/setup build
	@$(TOOLS)/schema

clean: ## remove what was built (the cache of tools stays)
	cargo clean
	rm -rf dist
