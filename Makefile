# `make help` lists what there is. Every target sets up what it needs first; paths are relative, so that
# the clone may stand in any folder.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help
.PHONY: help sync demo unit test faults check openapi format image-check compose-check deploy-check bench lock clean

# More arguments for `demo` (--once), `unit` and `test` (pytest's).
ARGS ?=
# How `test` measures branch coverage. It costs pytest's own processes a third of their time; the servers,
# peers and services that tests start run at full speed.
COVERAGE ?= --cov --cov-report=json:.run/coverage.json

export PYTHONPATH := $(CURDIR)/src
python := .venv/bin/python

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

sync: ## Install pipenv (.tools) and the locked packages (.venv), where not done yet
	@bin/bootstrap

demo: sync ## Show it all: servers, services, logins, transfers and retires (ARGS=--once: end after it)
	@exec $(python) -m devstack.demo $(ARGS)

unit: sync ## All unit tests, in seconds: no servers, no child processes (ARGS: more arguments for pytest)
	$(python) -m pytest --numprocesses 2 --no-loadscope-reorder tests/unit $(ARGS)

test: check ## All checks and all tests, then branch coverage (ARGS='-k compose': for pytest; COVERAGE=: without)
	@mkdir -p .run && rm -f .run/coverage.json
	$(python) -m pytest --numprocesses 2 --no-loadscope-reorder $(COVERAGE) $(ARGS) || status=$$?; \
	$(python) -m devstack.coverage_table .run/coverage.json || true; \
	exit $${status:-0}

faults: sync ## The long fault bench (ARGS='--faults 5000 --seed 1000': doc/faults.md); `test` has a short one
	$(python) -m tests.faults.long_run $(ARGS)

check: sync ## Lint, formatting, types, import direction
	$(python) -m ruff check
	$(python) -m ruff format --check
	$(python) -m mypy
	$(python) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

openapi: sync ## Renew doc/openapi.json, which a test holds to what the views and schemas say
	$(python) -m devstack.openapi_document doc/openapi.json

format: sync ## Format the code, mend what the linter can mend
	$(python) -m ruff check --fix
	$(python) -m ruff format

image-check: sync ## Build the image and tell the demo's story through it (ARGS: doc/containers.md)
	@exec $(python) -m devstack.image $(ARGS)

compose-check: sync ## Tell the demo's story to what `docker compose up` has started
	@exec $(python) -m devstack.composed

deploy-check: sync ## Lint the Dockerfile, compose.yaml and the Helm chart; validate what the chart renders
	@exec deploy/check

bench: sync ## Measure what is asked most beside its limit (half an hour; ARGS: doc/bench.md)
	@PYTHONPATH="$(CURDIR)/src:$(CURDIR)" exec $(python) -m bench $(ARGS)

lock: sync ## Resolve the Pipfile anew into Pipfile.lock, with no index's address in it
	PIPENV_VENV_IN_PROJECT=1 PIPENV_IGNORE_VIRTUALENVS=1 .tools/bin/python -m pipenv lock
	$(python) -m devstack.strip_lock Pipfile.lock

clean: ## Remove everything that the targets above have made
	rm -rf .venv .tools .run .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -prune -exec rm -rf {} +
