# Everything that is done from a checkout. `make help` lists it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Small matrices: one thread is several times faster than two on a busy machine.
export OMP_NUM_THREADS := 1
export PYTHONHASHSEED := 0
# Nothing here asks a model hub for anything.
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
# The CPU set that is known to work together. A GPU machine that has its own torch: CONSTRAINTS=
CONSTRAINTS ?= constraints/cpu.txt
PIN := $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
SEED ?= 0
ARGS ?=
PYTEST := $(PY) -m pytest

.PHONY: help quickstart moments test test-full lint types bench demo system-deps install clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(PY):
	$(PYTHON) -m venv $(VENV)

# Stamps: an installation is done once, and again when what it is made from changes.
$(VENV)/.run: $(PY) pyproject.toml $(CONSTRAINTS)
	$(PY) -m pip install -q $(PIN) -e ".[train]"
	touch $@

$(VENV)/.video: $(PY) pyproject.toml $(CONSTRAINTS)
	$(PY) -m pip install -q $(PIN) -e ".[train,video]"
	touch $@

$(VENV)/.demo: $(PY) pyproject.toml $(CONSTRAINTS)
	$(PY) -m pip install -q $(PIN) -e ".[train,video,vision,demo]"
	touch $@

$(VENV)/.dev: $(PY) pyproject.toml $(CONSTRAINTS)
	$(PY) -m pip install -q $(PIN) -e ".[train,photos,fast,video,decord,vision,segment,spatial,mcp,lora,demo,dev]"
	touch $@ $(VENV)/.run $(VENV)/.video $(VENV)/.demo

install: $(VENV)/.dev ## The environment for work on vtool itself, in .venv

quickstart: $(VENV)/.run ## Train the tiny policy to look closer, measure it, write runs/quickstart (SEED=0)
	$(PY) scripts/quickstart.py --seed $(SEED) $(ARGS)

moments: $(VENV)/.video ## Train a tiny policy to look again in time, measure it, write runs/moments (SEED=0)
	$(PY) scripts/moments.py --seed $(SEED) $(ARGS)

test: $(VENV)/.dev ## The fast suite
	$(PYTEST) -m "not slow and not gpu" $(ARGS)

test-full: $(VENV)/.dev ## The fast suite and the long one; the log is kept under benchmarks/results
	mkdir -p benchmarks/results
	$(PYTEST) --no-header -m "not gpu" --durations=25 $(ARGS) 2>&1 | tee benchmarks/results/test-full.txt

lint: $(VENV)/.dev ## Style, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

types: $(VENV)/.dev ## Types alone
	$(PY) -m mypy

bench: $(VENV)/.dev ## Every benchmark, one after the other; results under benchmarks/results
	for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(PY) $$file; done

demo: $(VENV)/.demo ## The studio in your browser: watch an agent think with images, and take the pen
	$(VENV)/bin/vtool demo $(ARGS)

system-deps: ## What comes from the operating system: bubblewrap, chromium, libusb (for open3d)
	@missing=""; \
	command -v bwrap >/dev/null || missing="$$missing bubblewrap"; \
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
	  || command -v google-chrome >/dev/null || missing="$$missing chromium"; \
	ldconfig -p | grep -q libusb-1.0 || missing="$$missing libusb-1.0-0"; \
	if [ -z "$$missing" ]; then echo "system-deps: all there"; exit 0; fi; \
	if ! command -v apt-get >/dev/null; then \
	  echo "system-deps: please install$$missing with your system's package manager"; exit 1; fi; \
	if [ "$$(id -u)" != 0 ]; then \
	  echo "system-deps: please run: sudo apt-get install --no-install-recommends$$missing"; exit 1; fi; \
	apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -q -y --no-install-recommends $$missing

clean: ## Remove what builds and test runs leave behind (not .venv, not runs)
	rm -rf build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
