# Everything a developer or a newcomer runs. Needs Python 3.11 or newer and make; all else goes into .venv/ and
# .cache/ inside the checkout. `make` alone lists the targets. Written for GNU make 3.81, which macOS has.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
WHEEL_BIN := .cache/wheel/bin
WHEEL_READY := .cache/wheel/.ready

# pip, pytest and the programs under test keep their temporary files here too: nothing is left outside the checkout.
export TMPDIR := $(CURDIR)/.cache/tmp
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The programs under test are started hundreds of times. Each would compile all its sources anew, where the environment
# forbids Python to keep what it has compiled.
export PYTHONDONTWRITEBYTECODE :=

# One test process more than cores, for some tests wait, up to the point where starting more costs more than it saves.
PYTEST_PARALLEL = --dist worksteal --numprocesses \
	$$($(BIN)/python -c 'import os; print(min(8, (os.cpu_count() or 1) + 1))')
# Rules and wire are covered to the last branch: what cannot be tested there does not belong there.
FULLY_COVERED := protocol/*,loadbalance/*,broker/core/*
# All that a wheel is made of.
PACKAGED := pyproject.toml setup.py \
	$(shell find broker cli configuration loadbalance log program protocol requester tracing transport worker \
		-name '*.py' -o -name '*.c')

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types layers coverage uncovered unit integration test-compiled test-deploy soak bench \
	bench-peers simulate docs picture format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## make .venv/ with Taskferry and all that its tests need

$(READY): pyproject.toml setup.py protocol/_json.c transport/_frames.c
	@command -v $(PYTHON) >/dev/null || \
		{ echo "$(PYTHON) is not installed. Taskferry needs Python 3.11 or newer."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is $$($(PYTHON) -V 2>&1): Taskferry needs 3.11 or newer. Try: make PYTHON=python3.13"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Setting up .venv (once, about a minute) ..."
	@mkdir -p "$$TMPDIR"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(READY) ## broker, workers and a stream of requests on this machine, live
	@trap : INT; $(BIN)/taskferry demo || test $$? -eq 130

test: lint types layers coverage uncovered ## all that must pass before a change goes in

lint: $(READY) ## ruff: rules and format
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .

types: $(READY) ## mypy --strict
	@$(BIN)/mypy

layers: $(READY) ## import-linter: imports point down only
	@$(BIN)/lint-imports --no-logo

coverage: $(READY) ## the tests, in random order, with the two bounds on branch coverage
	@mkdir -p "$$TMPDIR"
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest --quiet $(PYTEST_PARALLEL) -m 'not uncovered'
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --include '$(FULLY_COVERED)' --fail-under 100
	@$(BIN)/coverage report --fail-under 90

uncovered: $(READY) ## the tests that coverage would slow down and that would add nothing to it
	@mkdir -p "$$TMPDIR"
	@$(BIN)/pytest --quiet $(PYTEST_PARALLEL) -m uncovered

unit: $(READY) ## the unit tests and simulations alone, without coverage
	@mkdir -p "$$TMPDIR"
	@$(BIN)/pytest --quiet $(PYTEST_PARALLEL) tests/unit $(wildcard tests/sim)

integration: $(READY) ## the tests over real sockets and processes alone, without coverage
	@mkdir -p "$$TMPDIR"
	@$(BIN)/pytest --quiet $(PYTEST_PARALLEL) tests/integration

test-compiled: $(WHEEL_READY) ## the tests of rules, wire and links, and all over real sockets, on a wheel with its hot path in C
	@mkdir -p "$$TMPDIR"
	@$(WHEEL_BIN)/pytest --quiet $(PYTEST_PARALLEL) tests/unit/broker tests/unit/protocol tests/unit/transport tests/sim \
		tests/integration

test-deploy: .venv/.deploy ## deploy/ against the real Prometheus, nginx, HAProxy, Helm, hadolint and systemd-analyze
	@missing=; \
	for tool in prometheus nginx haproxy; do \
		PATH="$$PATH:/usr/sbin" command -v $$tool >/dev/null || missing="$$missing $$tool"; \
	done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Debian's$$missing ..."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing; \
	elif [ -n "$$missing" ]; then \
		echo "Without$$missing, so their tests skip. On Debian and Ubuntu: apt install$$missing"; \
	fi
	@mkdir -p "$$TMPDIR"
	@PATH="$$PATH:/usr/sbin" $(BIN)/pytest --quiet --timeout 300 $(PYTEST_PARALLEL) tests/deploy

.venv/.deploy: $(READY)
	@$(BIN)/python -m pip install --quiet --editable '.[deploy]'
	@touch $@

soak: $(READY) ## the long tests: minutes of mixed traffic, flat memory
	@mkdir -p "$$TMPDIR"
	@$(BIN)/pytest --timeout 900 tests/soak

bench: $(WHEEL_READY) ## measure speed, a quarter of an hour; writes docs/benchmarks.md and its plots
	@mkdir -p "$$TMPDIR"
	@$(WHEEL_BIN)/python -m benchmarks --docs docs --json docs/benchmarks.json \
		$(if $(wildcard docs/benchmarks.json),--merge docs/benchmarks.json)

bench-peers: $(WHEEL_READY) ## install Taskferry's peers, measure beside them; adds them to docs/benchmarks.md
	@mkdir -p "$$TMPDIR"
	@$(WHEEL_BIN)/python -m benchmarks.peers.install
	@$(WHEEL_BIN)/python -m benchmarks.peers --json .cache/peers.json
	@$(WHEEL_BIN)/python -m benchmarks --render --docs docs --json docs/benchmarks.json \
		--merge $(wildcard docs/benchmarks.json) .cache/peers.json

# What users install is what is measured: a wheel, its hot path compiled, which an editable installation lacks. What an
# earlier build has left would go into the wheel too.
$(WHEEL_READY): $(PACKAGED) | $(READY)
	@echo "Building and installing the wheel into .cache/wheel (about two minutes) ..."
	@mkdir -p "$$TMPDIR"
	@rm -rf build
	@$(WHEEL_BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m venv --clear .cache/wheel
	@$(WHEEL_BIN)/python -m pip install --quiet '.[dev,bench,simulate]'
	@touch $@

simulate: .venv/.simulate ## prove the load balancing in simulation; writes docs/simulation.md and its plots
	@$(BIN)/python -m benchmarks.simulation

.venv/.simulate: $(READY)
	@$(BIN)/python -m pip install --quiet --editable '.[simulate]'
	@touch $@

docs: $(READY) ## write docs/configuration.md and docs/log.md anew from the sources
	@$(BIN)/python -m taskferry.cli.reference_pages docs

picture: $(READY) ## draw docs/demo.svg anew from a run of the demo
	@mkdir -p docs
	@$(BIN)/taskferry demo --export docs/demo.svg

format: $(READY) ## mend what ruff can mend
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format .

clean: ## remove all that the other targets made
	@rm -rf .venv .cache .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@rm -rf build dist taskferry.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
