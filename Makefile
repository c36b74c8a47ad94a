# Thin: every target is one command that also works by itself. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo check test test-cuda gpu-check bench bench-serving converters-matrix golden clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/.ready: pyproject.toml scripts/setup
	@PYTHON=$(PYTHON) scripts/setup
	@touch $@

setup: .venv/.ready ## make .venv with mbuild and its development tools

demo: .venv/.ready ## build, test and report examples/digits
	@$(BIN)/mbuild examples/digits --target cpu

check: .venv/.ready ## format, lint, types, architecture and unit tests (under a minute)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests/arch tests/unit tests/property

test: .venv/.ready ## every suite; starts a Docker engine and a registry where they can be started
	@scripts/test

test-cuda: .venv/.ready ## build and prove all GPU images: cuda12 and cuda13, with convolutions and without (some GB of downloads)
	@MBUILD_TEST_CUDA=1 $(BIN)/python -m pytest tests/cuda

gpu-check: .venv/.ready ## on a machine with an NVIDIA GPU: the golden cases of an image on it, without Docker (LAYOUT=dir)
	@test -n "$(LAYOUT)" || $(BIN)/mbuild examples/digits --target cuda13 --no-test --output build/gpu-check
	@$(BIN)/python -m tests.gpu $(or $(LAYOUT),build/gpu-check)

bench: .venv/.ready ## ratios against a peer or a physical limit, measured in one run (WRITE=README.md, PLOT=docs/cost.png)
	@scripts/services run $(BIN)/python -m tests.bench $(if $(PLOT),--plot $(PLOT)) $(if $(WRITE),--write $(WRITE))

bench-serving: .venv/.ready ## our servers against their peers (ONLY=words ROUNDS=n SECONDS=s WRITE=docs/serving-bench.md PLOT=docs/serving.png)
	@scripts/services run $(BIN)/python -m tests.bench.serving --only "$(ONLY)" $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(PLOT),--plot $(PLOT)) $(if $(WRITE),--write $(WRITE))

converters-matrix: .venv/.ready ## every kind of model, built and tested, as one table (ONLY=word for some)
	@$(BIN)/python -m tests.matrix --only "$(ONLY)" $(if $(WRITE),--write $(WRITE))

golden: .venv/.ready ## rewrite the golden files, then look at the diff
	@scripts/test --update-goldens

clean: ## remove what make made (not the cache)
	rm -rf .venv dist build .mypy_cache .ruff_cache .hypothesis
