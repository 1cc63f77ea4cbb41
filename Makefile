# Portcullis. `make` alone lists what can be made.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Serve three demo apps on this machine, with a demo identity provider: no cluster, no Redis
	@scripts/needs base
	@echo "building portcullis (the first time takes some minutes)" >&2
	@cargo build --locked --quiet --profile demo
	@target/demo/portcullis dev $(DIR)

.PHONY: test
test: test-fast test-e2e ## Run every test, on a real control plane too

.PHONY: test-fast
test-fast: lint ## Run the tests that need no control plane
	@scripts/needs base
	@echo "building and running the tests (the first time takes some minutes)" >&2
	cargo test --locked --quiet

.PHONY: test-e2e
test-e2e: ## Run the tests on a real etcd and kube-apiserver, with a real provider and a real browser
	@scripts/needs base e2e
	scripts/e2e

.PHONY: lint
lint: ## Check formatting, lints, dependencies, scripts and workflows
	@scripts/needs base deny lint
	cargo fmt --check
	@echo "checking lints (the first time takes some minutes)" >&2
	cargo clippy --locked --quiet --all-targets -- -D warnings
	cargo clippy --locked --quiet --test e2e -- -D warnings
	scripts/deny
	scripts/lint-files

.PHONY: bench
bench: ## Compare CPU per request with nginx, HAProxy and oauth2-proxy, side by side in one run
	@scripts/needs base e2e bench
	bench/run

.PHONY: crds
crds: ## Write crds/, and those of the chart, from the code
	cargo run --locked --quiet -- crds --output crds
	cargo run --locked --quiet -- crds --output charts/portcullis/crds

.PHONY: reference
reference: ## Write docs/reference/ from the code
	PORTCULLIS_WRITE_REFERENCE=1 cargo test --locked --quiet --test docs reference
