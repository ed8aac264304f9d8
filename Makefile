# Everything a developer or a newcomer runs. Needs Python 3.11 or newer and make; all else goes into .venv/ and
# .cache/ inside the checkout. `make` alone lists the targets. Written for GNU make 3.81, which macOS has.

PYTHON ?= python3
BIN := .venv/bin
MADE := .venv/.made
READY := .venv/.ready
COLLECTED := .venv/.collected
WHEEL := .cache/wheel
WHEEL_BIN := $(WHEEL)/environment/bin
WHEEL_READY := $(WHEEL)/.ready
# The folders at the root that are packages, as setup.py finds them, and all that a wheel is made of.
PACKAGES := $(patsubst %/py.typed,%,$(wildcard */py.typed))
PACKAGED := pyproject.toml setup.py README.md LICENSE $(shell find $(PACKAGES) namespace -name '*.py' -o -name '*.[ch]')

# pip, pytest and the programs under test keep their temporary files here too: nothing is left outside the checkout.
export TMPDIR := $(CURDIR)/.cache/tmp
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Python compiles what it imports, and pip would compile all, also in the environment that it makes to build a wheel.
export PIP_COMPILE := 0
# The programs under test are started hundreds of times. Each would compile all its sources again if the environment
# forbids Python to keep what it has compiled.
export PYTHONDONTWRITEBYTECODE :=

# One test process more than cores, for some tests wait, up to the point where starting more costs more than it saves.
PYTEST_PARALLEL = --dist worksteal --numprocesses \
	$$($(BIN)/python -c 'import os; print(min(8, (os.cpu_count() or 1) + 1))')
# Under coverage tests compute more than they wait, and each process that collects them takes ten seconds.
COVERAGE_PARALLEL = --dist worksteal --numprocesses $$($(BIN)/python -c 'import os; print(min(8, os.cpu_count() or 1))')
# How long each fuzz target runs, in seconds.
FUZZ_S ?= 300
# How long everything comes and goes in `make soak`, in seconds. In `make test-faults` it is half a minute.
CHURN_S ?= 600
# How often broker, workers and submitter of jobs are killed in `make soak`. In `make test-faults` it is a few times.
CRASH_ROUNDS ?= 200
# What runs the tests of faults, and with them the programs under test.
FAULTS_PYTHON ?= $(BIN)/python
# The C that is written by hand, built so that a wrong access of memory or anything undefined ends the process.
SANITIZED := .cache/sanitized
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LIBASAN := $(wildcard $(shell gcc -print-file-name=libasan.so 2>/dev/null))
SANITIZED_PYTHON := LD_PRELOAD=$(LIBASAN) PYTHONMALLOC=malloc PYTHONPATH=$(SANITIZED)/packages $(BIN)/python
NO_SANITIZERS := gcc and its sanitizers (libasan, libubsan) are not installed; on Debian and Ubuntu: apt install gcc
FUZZ_TARGETS := json transcode frames ports
# atheris has wheels for Linux alone.
CLANG := $(if $(filter Linux,$(shell uname -s)),$(firstword $(foreach name,clang clang-19 clang-16 clang-14,$(shell command -v $(name) 2>/dev/null))))
GUIDED := $(if $(CLANG),.cache/guided/.ready)
GUIDED_FLAGS := -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all -fno-omit-frame-pointer
GUIDED_PYTHON = LD_PRELOAD=$$($(BIN)/python -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so \
	ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONPATH=.cache/guided/packages $(BIN)/python
# What runs on the wheel; all tests with the marker `uncovered` are among it.
ON_WHEEL := tests/unit/broker tests/unit/loadbalance tests/unit/protocol tests/unit/transport \
	tests/unit/requester/test_deadlines.py tests/sim tests/simulation tests/integration
# Rules and wire are covered to the last branch: what cannot be tested there does not belong there.
FULLY_COVERED := protocol/*,loadbalance/*,broker/access/*,broker/core/*,broker/jobs/*,broker/topics/*,broker/gather/*

.DEFAULT_GOAL := help
.PHONY: help setup demo test uncompiled checks lint types layers coverage unit integration wheel test-compiled test-benchmarks \
	sanitize fuzz fuzz-damaged fuzz-json fuzz-transcode fuzz-frames fuzz-ports test-autobahn mutants audit test-deploy test-faults \
	soak bench bench-peers simulate docs picture format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## make .venv/ with Taskferry and all that its tests need

$(MADE):
	@command -v $(PYTHON) >/dev/null || \
		{ echo "$(PYTHON) is not installed. Taskferry needs Python 3.11 or newer."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is $$($(PYTHON) -V 2>&1): Taskferry needs 3.11 or newer. Try: make PYTHON=python3.13"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(PYTHON) -m venv --clear .venv
	@touch $@

$(READY): pyproject.toml setup.py $(wildcard $(PACKAGES:=/*.[ch])) $(PACKAGES:=/py.typed) | $(MADE)
	@echo "Setting up .venv (once, about a minute) ..."
	@mkdir -p "$$TMPDIR"
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(READY) ## broker, workers and a stream of requests on this machine, live
	@trap : INT; $(BIN)/taskferry demo || test $$? -eq 130

test: ## all that must pass before a change goes in
	@$(MAKE) --no-print-directory --jobs 2 wheel uncompiled  # one core compiles meanwhile
	@$(MAKE) --no-print-directory test-compiled
	@$(MAKE) --no-print-directory fuzz-damaged FUZZ_S=5

uncompiled: checks
	@$(MAKE) --no-print-directory coverage

checks: lint types layers

lint: $(READY) ## ruff: rules and format
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .

types: $(READY) ## mypy --strict
	@$(BIN)/mypy

layers: $(READY) ## import-linter: imports point down only
	@$(BIN)/lint-imports --no-logo

# Once: what Python compiles of all tests and all that they import is kept. Else each process does it, under coverage.
$(COLLECTED): $(READY)
	@mkdir -p "$$TMPDIR"
	@$(BIN)/pytest --quiet --collect-only >/dev/null 2>&1 || true  # what is wrong, the tests will report
	@touch $@

coverage: $(READY) $(COLLECTED) ## the tests, in random order, with the two bounds on branch coverage
	@mkdir -p "$$TMPDIR"
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest --quiet $(COVERAGE_PARALLEL) -m 'not uncovered'
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --include '$(FULLY_COVERED)' --fail-under 100
	@$(BIN)/coverage report --fail-under 90

unit: $(READY) ## the unit tests and simulations alone, without coverage
	@mkdir -p "$$TMPDIR"
	@$(BIN)/pytest --quiet $(PYTEST_PARALLEL) tests/unit $(wildcard tests/sim)

integration: $(READY) ## the tests over real sockets and processes alone, without coverage
	@mkdir -p "$$TMPDIR"
	@$(BIN)/pytest --quiet $(PYTEST_PARALLEL) tests/integration

test-compiled: wheel ## strategies, core, wire, links, simulations and all over real sockets, on the compiled wheel
	@mkdir -p "$$TMPDIR"
	@$(WHEEL_BIN)/python -m pytest --quiet $(PYTEST_PARALLEL) tests/unit/layout/test_installed.py $(ON_WHEEL)

test-benchmarks: wheel ## the benchmarks themselves, each in its shortest form, on the compiled wheel
	@mkdir -p "$$TMPDIR"
	@$(WHEEL_BIN)/python -m pytest --quiet $(PYTEST_PARALLEL) tests/benchmarks

sanitize: $(SANITIZED)/.ready ## the tests of the C that reads untrusted bytes, under gcc's sanitizers
	@mkdir -p "$$TMPDIR"
	@ASAN_OPTIONS=detect_leaks=0 $(SANITIZED_PYTHON) -m pytest --quiet --capture sys $(PYTEST_PARALLEL) --timeout 300 \
		tests/unit/protocol/test_large.py tests/unit/protocol/test_transcode.py tests/unit/transport/test_frames.py tests/unit/transport/test_framing.py

fuzz: .venv/.fuzz $(GUIDED) ## inputs that follow what they reach (atheris) or are damaged copies, FUZZ_S seconds (300) a target
ifdef CLANG
	@mkdir -p "$$TMPDIR"
	@for target in $(FUZZ_TARGETS); do $(GUIDED_PYTHON) -m tests.fuzz.guided $$target --seconds $(FUZZ_S) || exit 1; done
else
	@echo "clang is not installed, so inputs do not follow what they reach; on Debian and Ubuntu: apt install clang"
endif
	@$(MAKE) --no-print-directory fuzz-damaged

fuzz-damaged: ## the same inputs without atheris: damaged copies of the corpus, FUZZ_S seconds a target
	@$(MAKE) --no-print-directory --jobs 2 $(addprefix fuzz-,$(FUZZ_TARGETS))

fuzz-ports: $(READY)
	@mkdir -p "$$TMPDIR"
	@$(BIN)/python -m tests.fuzz ports --seconds $(FUZZ_S)

ifdef LIBASAN
fuzz-json fuzz-transcode fuzz-frames: fuzz-%: $(SANITIZED)/.ready
	@mkdir -p "$$TMPDIR"
	@ASAN_OPTIONS=abort_on_error=1:detect_leaks=1 $(SANITIZED_PYTHON) -m tests.fuzz $* --seconds $(FUZZ_S)
else
fuzz-json fuzz-transcode fuzz-frames: fuzz-%: $(READY)
	@echo "$(NO_SANITIZERS). Only wrong answers are found."
	@$(BIN)/python -m tests.fuzz $* --seconds $(FUZZ_S)
endif

# clang's coverage and sanitizers in the C; their runtime, with libFuzzer in it, is atheris's.
.cache/guided/.ready: $(PACKAGED) | .venv/.fuzz
	@rm -rf .cache/guided
	@CC=$(CLANG) LDSHARED='$(CLANG) -shared' CFLAGS='$(GUIDED_FLAGS)' LDFLAGS='$(GUIDED_FLAGS)' TASKFERRY_COMPILED=1 \
		$(BIN)/python setup.py --quiet build --build-base .cache/guided/build --build-lib .cache/guided/packages
	@touch $@

$(SANITIZED)/.ready: $(PACKAGED) | $(READY)
	@test -n "$(LIBASAN)" || { echo "$(NO_SANITIZERS)"; exit 1; }
	@rm -rf $(SANITIZED)
	@CC=gcc CFLAGS='$(SANITIZERS)' LDFLAGS='$(SANITIZERS)' TASKFERRY_COMPILED=1 $(BIN)/python setup.py --quiet build \
		--build-base $(SANITIZED)/build --build-lib $(SANITIZED)/packages
	@ASAN_OPTIONS=detect_leaks=0 $(SANITIZED_PYTHON) -c 'import taskferry.protocol._json as j, taskferry.transport._frames as f; \
		assert "$(SANITIZED)" in j.__file__ and "$(SANITIZED)" in f.__file__'
	@touch $@

test-autobahn: wheel ## Autobahn's fuzzing client against our links and ports, compiled and not; needs a Python 2.7
	@mkdir -p "$$TMPDIR"
	@$(BIN)/pytest --quiet tests/autobahn
	@$(WHEEL_BIN)/python -m pytest --quiet tests/autobahn

mutants: .venv/.mutants ## do the tests notice each change of a rule? half an hour the first time, goes on where it stopped
	@mkdir -p "$$TMPDIR"
	@$(BIN)/python -m tests.mutants $(ROOMS)

audit: .venv/.audit ## known vulnerabilities in what is installed here, by pip-audit; needs the network
	@$(BIN)/python -m tests.audit

.venv/.mutants .venv/.audit .venv/.fuzz: .venv/.%: $(READY)
	@$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

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

# FAULTS_PYTHON=.cache/wheel/environment/bin/python runs them on the wheel (after `make wheel`). No more than two at
# once: they measure what one client costs another.
test-faults: $(READY) ## every fault and abuse on real processes and sockets: kills, partitions, floods, ...
	@mkdir -p "$$TMPDIR"
	@$(FAULTS_PYTHON) -m pytest --quiet --numprocesses 2 --dist worksteal --timeout 180 -m 'not alone' tests/faults
	@$(FAULTS_PYTHON) -m pytest --quiet --timeout 180 -m alone tests/faults

soak: $(READY) ## the long tests: mixed traffic, flat memory; CHURN_S seconds of churn (600); CRASH_ROUNDS kills (200)
	@mkdir -p "$$TMPDIR"
	@$(BIN)/pytest --timeout 900 tests/soak
	@CHURN_S=$(CHURN_S) $(BIN)/pytest tests/faults/test_churn.py
	@CRASH_ROUNDS=$(CRASH_ROUNDS) $(BIN)/pytest -s tests/faults/test_jobs_crash.py

bench: wheel .venv/.bench ## measure speed, 25 minutes; writes docs/benchmarks.md and its plots
	@mkdir -p "$$TMPDIR"
	@$(WHEEL_BIN)/python -m benchmarks --docs docs --json docs/benchmarks.json \
		$(if $(wildcard docs/benchmarks.json),--merge docs/benchmarks.json)

bench-peers: wheel .venv/.bench ## install Taskferry's peers, measure beside them; adds them to docs/benchmarks.md
	@mkdir -p "$$TMPDIR"
	@$(WHEEL_BIN)/python -m benchmarks.peers.install
	@$(WHEEL_BIN)/python -m benchmarks.peers --json .cache/peers.json
	@$(WHEEL_BIN)/python -m benchmarks --render --docs docs --json docs/benchmarks.json \
		--merge $(wildcard docs/benchmarks.json) .cache/peers.json

# What users install is what is tested and measured: a wheel, its hot path compiled, which an editable installation
# lacks. It is built from a copy, so that nothing of an earlier build goes into it and `make setup` can run meanwhile.
wheel: $(WHEEL_READY) ## build the wheel and install it into .cache/wheel/environment

$(WHEEL)/.built: $(PACKAGED) | $(MADE)
	@command -v "$${CC:-cc}" >/dev/null || { echo "There is no C compiler ($${CC:-cc}), and what users install is compiled. \
	On Debian and Ubuntu: apt install gcc python3-dev"; exit 1; }
	@echo "Compiling the wheel (about a minute) ..."
	@rm -rf $(WHEEL)
	@mkdir -p $(WHEEL)/source "$$TMPDIR"
	@tar -cf - $(PACKAGED) $(shell find $(PACKAGES) -name py.typed) | tar -xf - -C $(WHEEL)/source
	@TASKFERRY_COMPILED=1 $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(WHEEL) $(WHEEL)/source
	@touch $@

# What it depends on is .venv's: a .pth file adds the folder, and runs none of the .pth files there, one of which would
# bring the editable installation.
$(WHEEL_READY): $(WHEEL)/.built $(READY)
	@$(BIN)/python -m venv --clear --without-pip $(WHEEL)/environment
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> $$($(WHEEL_BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dependencies.pth
	@$(BIN)/python -m pip --python $(WHEEL_BIN)/python install --quiet --no-deps --force-reinstall $(WHEEL)/*.whl
	@touch $@

.venv/.bench: $(READY)
	@$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@

simulate: .venv/.simulate ## prove the load balancing in simulation; writes docs/simulation.md and its plots
	@$(BIN)/python -m benchmarks.simulation

.venv/.simulate: $(READY)
	@$(BIN)/python -m pip install --quiet --editable '.[simulate]'
	@touch $@

docs: $(READY) ## write docs/configuration.md and docs/log.md from the sources
	@$(BIN)/python -m taskferry.cli.reference_pages docs

picture: $(READY) ## draw docs/demo.svg from a run of the demo
	@mkdir -p docs
	@$(BIN)/taskferry demo --export docs/demo.svg

format: $(READY) ## fix what ruff can fix
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format .

clean: ## remove all that the other targets made
	@rm -rf .venv .cache .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@rm -rf build dist taskferry.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
