# smartedu-edge: `make up` on a fresh machine with Python 3.11+ is all it takes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STATE ?= .smartedu
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
NPM := cd edge/site && PATH="$(CURDIR)/$(BIN):$$PATH" npm
WORKERS ?= 2
# The edge that `make load` talks to.
HOST ?= http://127.0.0.1:8080
# More flags for the benchmark, e.g. make bench BENCH="--only growth --million"
BENCH ?=
# More flags for `smartedu up`, e.g. make up UP="--listen 127.0.0.1:8000"
UP ?=

.PHONY: up install test check format bench lock load clean help

up: install ## Start storage, Redis and the edge on this machine, publish sample lessons; Ctrl-C stops all
	@exec $(BIN)/smartedu up --state $(STATE) $(UP)

install: $(VENV)/.installed ## Set up .venv from the pinned lock

test: $(VENV)/.dev ## Run the whole test suite against real servers
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests

check: $(VENV)/.dev ## Formatting, linting, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## Measure beside peers, as ratios; as root on Debian it installs nginx and Varnish for that
	@$(BIN)/python -m loadtest.bench.peers
	@$(BIN)/python -m loadtest.bench $(BENCH)

load: $(VENV)/.dev ## Players against a running `make up`, for one minute
	@$(BIN)/locust -f loadtest/locustfile.py --headless --users 20 --spawn-rate 2 --run-time 60s --host $(HOST)

lock: $(VENV)/.dev ## Pin the newest allowed versions of everything, with hashes and without index addresses
	@$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-annotate --no-header --extra local pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-annotate --no-header -c requirements.lock --extra local --extra dev pyproject.toml -o requirements-dev.lock

clean: ## Remove what set-up and runs made (not the published data in .smartedu)
	@rm -rf $(VENV) edge/site/node_modules *.egg-info build dist

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "smartedu-edge needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python cannot make a virtual environment (Debian: apt install python3-venv)" >&2; exit 1; }

$(VENV)/.installed: requirements.lock pyproject.toml edge/site/package-lock.json | $(BIN)/python
	@echo "installing pinned packages"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(NPM) ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.installed
	@echo "installing pinned development packages"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
