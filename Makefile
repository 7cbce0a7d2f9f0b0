# The ways to work on zoo. Needs Python >= 3.11 and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PLUGINS := $(wildcard plugins/*)
HEADERS := tests/anywhere/headers

.DEFAULT_GOAL := help
.PHONY: help demo test test-ci test-slow test-browser check format tour results gallery anywhere bench clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Train, export, verify and run a variational autoencoder; look at the pictures.
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh docs/demo.sh

test: $(READY) ## Run the tests (about six minutes on two cores).
	$(BIN)/python -m pytest

test-ci: $(READY) ## Run the slow tests that guard most: documents, resuming, ranks, installing.
	$(BIN)/python -m pytest -m slow -k "not two_hundred_kills and (not every_card or ddpm)" \
		tests/test_tour.py tests/test_guide.py tests/plugins/test_stranger.py \
		tests/plugins/test_every_card.py tests/training/test_resume.py \
		tests/training/test_init_from.py tests/training/test_players.py tests/training/test_ranks.py \
		tests/market/test_install.py tests/runtime/test_alone.py tests/exporting/test_variants.py \
		tests/cli/test_train.py::test_trainings_at_once_get_folders_of_their_own

test-slow: $(READY) ## Run the slow tests as well.
	$(BIN)/python -m pytest -m "not network and not gpu and not browser"

test-browser: $(READY) ## Run exported pages in Chromium and Firefox, where they are installed.
	$(BIN)/python -m pip install --quiet playwright
	$(BIN)/python -m pytest -n 0 -m browser

check: $(READY) ## Check format, lint, types and the direction of imports.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY) ## Format the code and mend what the linter can.
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

tour: $(READY) ## Write the outputs in docs/tour.md anew.
	$(BIN)/python -m tests.test_tour

results: $(READY) ## Export and measure the published weights anew; write docs/results.md and exports/.
	$(BIN)/python tools/results.py $(NAMES)

gallery: $(READY) ## Write pages of all models with published weights, and their index, into gallery/.
	$(BIN)/python tools/gallery.py

anywhere: $(READY) $(HEADERS) ## Run all exports in other runtimes; write their table in docs/onnx.md.
	npm ci --prefix tests/anywhere --ignore-scripts --no-audit --no-fund
	$(BIN)/python -m tests.anywhere

bench: $(READY) ## Run the benchmarks (BENCH="--quick", or names of parts); see benchmarks/.
	$(BIN)/python -m benchmarks $(BENCH)

clean: ## Remove the environment and what the tools left behind.
	rm -rf $(VENV) $(HEADERS) tests/anywhere/node_modules demo .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt $(PLUGINS:%=%/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit("zoo needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--editable '.[train,tensorboard,dev]' $(PLUGINS:%=--editable ./%)
	touch $(READY)

# The headers of ONNX Runtime, which the wheel lacks; older ones work with a newer library.
$(HEADERS):
	@test -n "$(HEADERS_FROM)" || { echo "make anywhere HEADERS_FROM=URL, of" \
		"libonnxruntime-dev_1.21.0+dfsg-1_amd64.deb on any mirror of Debian"; exit 2; }
	curl --fail --silent --show-error --location --output $@.deb "$(HEADERS_FROM)"
	echo "14f7d959d5deacbcf1504830d4189f91fc67382b399ed9ae9d3aa9c4050ced08  $@.deb" | sha256sum --check
	mkdir -p $@.part
	ar p $@.deb data.tar.xz | tar -xJ -C $@.part
	mv $@.part $@
	rm $@.deb
