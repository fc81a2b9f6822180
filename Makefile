# `make` or `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
TARGET := x86_64-unknown-linux-musl
RELEASE := target/$(TARGET)/release/token-exposure

.PHONY: help build test lint deny sbom demo faults soak e2e control-plane helm bench generate bootstrap tools

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: tools ## Build the static release binary
	cargo build --locked --release --target $(TARGET)
	@ls -l $(RELEASE)

# Tests run the release binary, which users get. They compile in a tenth of the time that its optimization and its static
# target take, so the dependencies are built for each. Both are built at once: the last step of the release keeps one
# core busy, and for long.
test: tools control-plane helm ## Run all tests: without a cluster, on a real control plane, and of the image
	@$(MAKE) --no-print-directory build & cargo test --locked --no-run; built=$$?; wait $$! && exit $$built
	TOKEN_EXPOSURE=$(CURDIR)/$(RELEASE) cargo test --locked --no-fail-fast

lint: ## Check format, lints, docs, and that the program compiles for macOS and Windows
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	.ci/platforms

deny: ## Check licences, duplicates and sources of the dependencies (needs `cargo install cargo-deny`)
	cargo deny --locked --config .github/deny.toml check --deny warnings licenses bans sources

sbom: ## Write the SBOM to target/token-exposure.cdx.json (needs `cargo install cargo-cyclonedx`)
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) cargo cyclonedx --format json --spec-version 1.5 --target $(TARGET) \
	    --override-filename token-exposure.cdx
	@mv token-exposure.cdx.json target/

demo: ## Show the product on a temporary control plane (KEEP=1 leaves it running)
	@tests/demo/demo.sh

faults: tools control-plane ## Run the long tests: faults of the API server, and the use of 500 pods
	cargo test --locked --test cluster -- faults:: usage::proof:: --include-ignored --nocapture

soak: tools control-plane helm ## Run the long tests of withheld tokens: 10,000 pods while permissions come and go (CASES=300 for fewer), all kinds, webhooks
	CASES=$${CASES:-10000} cargo test --locked --test deployment -- cure:: --include-ignored --nocapture

e2e: tools control-plane helm ## Run the end-to-end test, from install to uninstall, with a real Prometheus
	@cargo test --locked --test deployment e2e:: -- --nocapture

control-plane: ## Build and cache etcd, kube-apiserver, kube-controller-manager and kubectl
	@tests/control-plane/programs.sh

helm: ## Build and cache helm
	@tests/tools/build.sh

bench: build control-plane helm ## Measure latency, memory and writes on a real control plane (ROW=scale::k5 measures one of them)
	@TOKEN_EXPOSURE=$(RELEASE) cargo test --locked --bench bench -- $(ROW) --ignored --nocapture --test-threads=1

generate: helm control-plane tools ## Regenerate the CRD, deploy/install.yaml and the tables of deploy/chart/README.md
	UPDATE=1 cargo test --locked --test offline -- the_crd_is_fresh the_chart_has_the_crd what_objects_cost
	UPDATE=1 cargo test --locked --test deployment -- the_consumers_of_the_policy_are_written
	UPDATE=1 cargo test --locked --test deployment -- written

bootstrap: control-plane ## Regenerate the objects that every API server creates (src/files/bootstrap.json)
	tests/control-plane/bootstrap.sh > src/files/bootstrap.json

tools:
	@.ci/tools $(TARGET)
