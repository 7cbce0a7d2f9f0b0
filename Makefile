# The ways to work on zoo. Needs Python >= 3.11 and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PLUGINS := $(wildcard plugins/*)

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check format readme bench clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Train, export, verify and run a variational autoencoder; look at the pictures.
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh docs/demo.sh

test: $(READY) ## Run the tests (under six minutes on two cores).
	$(BIN)/python -m pytest

test-slow: $(READY) ## Run the slow tests as well.
	$(BIN)/python -m pytest -m "not network and not gpu"

check: $(READY) ## Check format, lint, types and the direction of imports.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY) ## Format the code and mend what the linter can.
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

readme: $(READY) ## Write the outputs in the README anew.
	$(BIN)/python -m tests.test_readme

bench: $(READY) ## Print the benchmarks.
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/plugins.py

clean: ## Remove the environment and what the tools left behind.
	rm -rf $(VENV) demo .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt $(PLUGINS:%=%/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit("zoo needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--editable '.[train,tensorboard,dev]' $(PLUGINS:%=--editable ./%)
	touch $(READY)
