# `make help` lists the targets. Each target first installs what it needs. Paths are relative, so a clone
# works in any folder.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help
.PHONY: help sync demo unit test check_and_compile compile coverage faults check openapi commands dashboard dashboard-check api-check format image-check compose-check deploy-check chart alerts-check tls-check rollback-check bench adopt-bench capacity lock sbom workflow-check release-check clean

# Arguments for `demo` (--once), `unit`, `test` (pytest's) and others.
ARGS ?=
# The bench's result that `capacity` takes over.
RESULT ?= .run/bench/result.json

export PYTHONPATH := $(CURDIR)/src
# Keep what pytest makes of the test files. Otherwise each of its processes makes it anew, in 6 s of CPU time.
export PYTHONDONTWRITEBYTECODE :=
python := .venv/bin/python

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

sync: ## Install pipenv (.tools) and the locked packages (.venv) if needed, and tell how to go on
	@bin/bootstrap $(if $(filter sync,$(MAKECMDGOALS)),--next-steps)

demo: sync ## Run the whole system, and two users who trade GGOs (ARGS=--once: stop afterwards)
	@exec $(python) -m devstack.demo $(ARGS)

unit: sync ## Run the unit tests, in seconds: no servers, no child processes (ARGS: arguments for pytest)
	$(python) -m pytest --numprocesses 2 --no-loadscope-reorder tests/unit $(ARGS)

# Three processes keep two cores busy: tests of running systems wait much of their time.
test: check_and_compile ## Run all checks and tests (ARGS='-k compose': arguments for pytest)
	$(python) -m pytest --numprocesses 3 --no-loadscope-reorder $(ARGS)

# mypy keeps one core busy. The other compiles the test files meanwhile, once for all processes of pytest.
check_and_compile: sync
	@$(MAKE) --jobs 2 --output-sync=target check compile

compile: sync
	@$(python) -m pytest --collect-only --quiet --numprocesses 0 >/dev/null 2>&1 || true

# Measuring costs pytest's own processes a third of their time, so `test` leaves it out.
coverage: sync ## Run all tests and show their branch coverage (ARGS: arguments for pytest)
	@mkdir -p .run && rm -f .run/coverage.json
	$(python) -m pytest --numprocesses 3 --no-loadscope-reorder --cov --cov-report=json:.run/coverage.json $(ARGS) || status=$$?; \
	$(python) -m devstack.coverage_table .run/coverage.json || true; \
	exit $${status:-0}

faults: sync ## Run the long fault bench (ARGS='--faults 5000 --seed 1000': see doc/faults.md)
	$(python) -m tests.faults.long_run $(ARGS)

check: sync ## Check lint, formatting, types and import rules
	$(python) -m ruff check
	$(python) -m ruff format --check
	$(python) -m mypy
	$(python) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

openapi: sync ## Write doc/openapi.json and version 2's list of errors from the code (tests compare them)
	$(python) -m devstack.openapi_document doc/openapi.json
	$(python) -m devstack.v2_errors doc/integrating/v2-errors.md

dashboard: sync ## Write doc/operations/grafana-dashboard.json from src/devstack/dashboard (a test compares them)
	$(python) -m devstack.dashboard doc/operations/grafana-dashboard.json

dashboard-check: sync ## Evaluate the dashboard's queries with a real Prometheus (ARGS='--minutes 15 --picture FILE')
	@deploy/install-prometheus
	@PYTHONPATH="$(CURDIR)/src:$(CURDIR)" exec $(python) -m tests.dashboard_check $(ARGS)

commands: sync ## Write the reference in doc/operations/commands.md from the commands (a test compares them)
	$(python) -m devstack.commands_document doc/operations/commands.md

# Node comes with .venv. The packages come from the registries that npm and pip are set up with, into .run.
api-check: sync ## Lint doc/openapi.json, and try clients generated from it (minutes; downloads from npm and PyPI)
	@printf 'This installs locked packages from npm and PyPI into .run at its first run (150 MB).\n'
	$(python) -m pytest --numprocesses 0 tests/api_check/check_*.py $(ARGS)

format: sync ## Format the code, and fix what the linter can fix
	$(python) -m ruff check --fix
	$(python) -m ruff format

image-check: sync ## Build the image and run the demo on it (ARGS: see doc/containers.md)
	@exec $(python) -m devstack.image $(ARGS)

compose-check: sync ## Run the demo against what `docker compose up` has started
	@exec $(python) -m devstack.composed

deploy-check: sync ## Lint the Dockerfile, compose.yaml and the Helm chart; check its objects and values; test the alert rules
	@exec deploy/check

chart: sync ## Write the chart's README, schema and copied files from values.yaml, settings and doc (a test compares them)
	@$(python) -m devstack.chart

alerts-check: sync ## Test the alert rules with promtool, and with a Prometheus that watches a running system (minutes)
	@deploy/install-prometheus
	@deploy/check_alerts
	@PYTHONPATH="$(CURDIR)/src:$(CURDIR)" exec $(python) -m pytest --numprocesses 0 tests/alerts/check_live.py $(ARGS)

tls-check: sync ## Run the service on Debian's PostgreSQL, Redis and Sentinel, all by TLS with client certificates
	$(python) -m pytest --numprocesses 0 tests/tls_check/check_*.py $(ARGS)

rollback-check: sync ## Run another commit's code on today's schema (ARGS: the commit)
	@exec $(python) -m devstack.rollback $(ARGS)

bench: sync ## Measure the speed of the main endpoints (half an hour; ARGS: see doc/bench.md)
	@PYTHONPATH="$(CURDIR)/src:$(CURDIR)" exec $(python) -m bench $(ARGS)

adopt-bench: sync ## Measure `flask adopt` on a generated database (ARGS: how many GGOs; default a million)
	@PYTHONPATH="$(CURDIR)/src:$(CURDIR)" exec $(python) -m bench.adopt $(ARGS)

capacity: sync ## Take over the bench's last result: doc/operations/capacity.md, and doc/bench.md's tables
	@PYTHONPATH="$(CURDIR)/src:$(CURDIR)" $(python) -m bench.capacity --tables $(RESULT) > .run/capacity.md
	@[[ $(RESULT) -ef doc/operations/bench-result.json ]] || cp $(RESULT) doc/operations/bench-result.json
	@cp .run/capacity.md doc/operations/capacity.md

sbom: sync ## Write the list of runtime packages (CycloneDX) into dist, and check it and the licences
	@release/install
	@.tools/release/bin/python release/sbom.py "$$($(python) -c 'import origin; print(origin.__version__)')"

workflow-check: sync ## Lint .github/workflows by actionlint and zizmor
	@release/install
	@release/check-workflows

release-check: sync ## Check all that a release must hold (ARGS=--with-tests: run `make test`, too)
	@exec $(python) -m devstack.release_check $(ARGS)

lock: sync ## Resolve the Pipfile into Pipfile.lock, without the address of a package index
	PIPENV_VENV_IN_PROJECT=1 PIPENV_IGNORE_VIRTUALENVS=1 .tools/bin/python -m pipenv lock
	$(python) -m devstack.strip_lock Pipfile.lock

clean: ## Remove everything that the other targets have created
	rm -rf .venv .tools .run dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -prune -exec rm -rf {} +
