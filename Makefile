# Thin: each recipe is what one could type. `make` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help libtorch backbone photographs build test chaos lint fmt oracles bench bench-server bench-operator demo demo-cluster doc clean

TARGET := $(or $(CARGO_TARGET_DIR),target)
# Where scripts/demo and scripts/demo-cluster find what was built.
export PROGRAMS := $(TARGET)/release

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

libtorch: ## libtorch 2.11.0 into .libtorch/ (545 MB once; CUDA=1 adds the CUDA libraries; a LIBTORCH of yours wins)
	@scripts/require python pip
	@scripts/libtorch $(if $(CUDA),--cuda)

backbone: libtorch ## The starter backbone (EfficientNet-Lite0, 17 MB) into .backbones/efficientnet-lite0/
	@scripts/require cargo compiler disk:release:6 memory
	@test -f .backbones/efficientnet-lite0/backbone_config.json || cargo build --release --workspace --bins
	@scripts/backbone $(PROGRAMS)/inctrl-trainer

photographs: build ## Real photographs and digits for evaluation, as folders in target/demo/photographs/
	@scripts/photographs $(PROGRAMS)/inctrl-trainer target/demo/photographs

build: libtorch ## inctrl-server, inctrl-trainer and inctrl into target/release/
	@scripts/require cargo compiler disk:release:6 memory
	cargo build --release --workspace --bins

test: libtorch ## Every test of the workspace
	@scripts/require cargo compiler disk:debug:9 memory
	cargo build --workspace --bins --tests
	@scripts/backbone $(TARGET)/debug/inctrl-trainer
	INCTRL_TEST_PROGRAMS_BUILT=1 cargo test --workspace

chaos: libtorch ## The operator killed at every write, and every storm of its API server: minutes to an hour
	@scripts/require cargo compiler disk:debug:9 memory go
	cargo test --workspace --no-run
	INCTRL_CHAOS=whole INCTRL_TEST_PROGRAMS_BUILT=1 cargo test --workspace --test chaos

lint: libtorch ## Format, clippy, licences and duplicates, spelling, TOML, protobuf, scripts
	@scripts/require cargo compiler disk:debug:3 memory
	@scripts/lint

fmt: ## Format Rust and TOML, apply the safe fixes to Python
	@scripts/lint --fix

oracles: ## Run the third-party oracles again and compare with the committed answers (3 GB of Python packages once)
	@scripts/require python pip
	@tests/oracles/run.sh

bench: build backbone ## Time a query in parts: fp32 and bf16, against the authors' way
	cargo bench --workspace --bench query

bench-server: build backbone ## Throughput through gRPC against the bare backbone loop
	@scripts/bench-server

bench-operator: build ## Operator with 1,000 and 10,000 models: memory, writes, fail-over, roll-out (30 min; IDLE=60 MODELS=1000 for less)
	@scripts/require go
	INCTRL_TEST_PROGRAMS_BUILT=1 cargo bench --workspace --bench bench-operator -- $(if $(MODELS),--models $(MODELS)) $(if $(IDLE),--idle $(IDLE))

demo: build backbone ## Train, serve and score images of unseen domains; writes target/demo/report.html
	@scripts/demo

demo-cluster: build backbone ## Apply examples/model.yaml on a cluster of this machine: train, gate, canary, promote, refuse, roll back, pin
	@scripts/require go
	@scripts/demo-cluster

doc: libtorch ## The API documentation of all crates into target/doc/
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

clean: ## Remove what was built; keeps .libtorch/, .backbones/ and the cache of downloads
	cargo clean
