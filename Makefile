# Every target is at most three lines, and CI calls only these. `make` alone explains them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup proto proto-check lint type check test-fast test soak bench up demo story clean

# Where this is set, each of the thousand processes that the tests start would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

# The first Python on the PATH that is new enough and can make a virtual environment; or say which: make setup PYTHON=...
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt
PYTEST := $(BIN)/pytest
# Two workers, a file at a time: each worker starts its servers once. In the order of their paths, which ends with many short
# files; by itself it would end with those of a single test, which is a long one, and the other worker waits.
PARALLEL := --numprocesses 2 --dist loadfile --no-loadscope-reorder

help:  ## Show this
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.dev  ## Make .venv with everything a developer needs (quick when it is done)
	@echo "Ready: $(BIN) has everything. Next: make test-fast"

proto: .venv/.dev  ## Generate clients/python/modelkeep/api from protos/
	@$(BIN)/python protos/generate.py

proto-check: .venv/.dev  ## Check that the contract is well-formed, compatible, and generated afresh
	@$(BIN)/python protos/generate.py --check
	@$(BIN)/python protos/generate.py --lint

lint: .venv/.dev  ## Check format, style and who imports whom
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-logo

type: .venv/.dev  ## Check types
	@$(BIN)/mypy

check: lint type proto-check  ## All checks that run no code of ours

test-fast: .venv/.dev  ## The inner loop: what needs no server
	@$(PYTEST) tests/unit tests/house $(args)

test: check  ## Everything: checks, then all tests, as one process and as many
	@$(PYTEST) $(PARALLEL) --topology embedded,split $(args)

soak: .venv/.dev  ## The long forms of the fault tests (hours)
	@$(PYTEST) -m soak --timeout 14400 --topology embedded,split $(args)

bench: .venv/.bench  ## Measure against cp, s5cmd and MLflow; prints tables and JSON
	@$(BIN)/python -m tests.bench $(args)

up: .venv/.demo  ## Run the whole suite here, in ./.modelkeep
	@$(BIN)/modelkeep up $(args)

demo: .venv/.demo  ## Train a small model, log every epoch, fetch the best from another process
	@$(BIN)/python clients/python/examples/demo.py

story: .venv/.demo  ## Fine-tune, pull the plug in the middle of an upload, follow `production` while it moves
	@$(BIN)/python clients/python/examples/story.py

clean:  ## Remove what the targets above made, the environment too
	rm -rf .venv .demo .story .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.venv/bin/uv:
	@[ -n "$(PYTHON)" ] || { echo "No Python 3.11 or newer with the modules venv and ensurepip is on the PATH. Install one (Debian and Ubuntu: apt install python3 python3-venv), or name one: make setup PYTHON=/path/to/python3"; exit 1; } >&2
	$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore 'uv>=0.9,<1'

# The extra by the name of the stamp; dev holds what demo holds.
.venv/.dev .venv/.bench: .venv/.%: pyproject.toml constraints.txt | .venv/bin/uv
	$(UV) --editable '.[$*]'
	@touch $@ .venv/.demo

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/uv
	$(UV) --editable '.[server,demo]'
	@touch $@
