# `make` or `make help` says what there is. PYTHON=… names the interpreter for .venv,
# ARGS=… goes to the command that the target runs.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Hundreds of processes are started that would each compile the same modules anew.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help setup chromium ops-tools vendor lint-page lint-ops package run func test test313 venv313 lint bench bench-detect peers soak pictures lock clean

PYTHON ?=
WORKERS ?= $(shell echo $$(($$(nproc 2>/dev/null || echo 2) * 3 / 2)))
ARGS ?=
DATA ?= ../shared/data
UV := uv==0.13.9
AZURITE := tests/azurite/node_modules/.installed
AXE := tests/browser/node_modules/.installed
PAGE := scripts/page/node_modules/.installed
DCLINT := scripts/dclint/node_modules/.installed
NPM := tests/azurite tests/browser scripts/page scripts/dclint scripts/core_tools
ON_313 := tests/golden tests/functions tests/unit/test_functions_files.py
# A file's tests stay together, with what they have set up; three workers on two cores, for many tests wait.
SPREAD := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
REQUIREMENTS := requirements.txt requirements-dev.txt pyproject.toml scripts/make_venv.sh
COMPILE = .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--custom-compile-command "make lock" $(ARGS)

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.installed $(AZURITE) $(AXE) chromium  ## .venv with the observer command and all that running and testing needs

.venv/.installed: $(REQUIREMENTS)
	@sh scripts/make_venv.sh .venv $(PYTHON)
	@touch $@

# Running needs none of it, so a machine without Node.js is told and goes on.
$(AZURITE): tests/azurite/package-lock.json | .venv/.installed
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
		echo "setup: installing Azurite into tests/azurite"; \
		.venv/bin/python -m tests.support.azurite && touch $@; \
	else \
		echo "setup: SKIPPED Azurite: no Node.js with npm; tests of the Azure storage will fail"; \
	fi

$(AXE): tests/browser/package-lock.json | .venv/.installed
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
		echo "setup: installing axe-core into tests/browser"; \
		.venv/bin/python -m tests.browser.axe && touch $@; \
	else \
		echo "setup: SKIPPED axe-core: no Node.js with npm; tests of the page's accessibility will fail"; \
	fi

$(PAGE): scripts/page/package-lock.json
	@cd scripts/page && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

chromium:  ## the Chromium that the tests of the page need, where it can be installed
	@sh scripts/get_chromium.sh

package: .venv/.installed  ## dist/qts_ops_deploy.tar.gz: what a machine needs to run the Observer (ARGS=--wheels)
	@bash deploy_ops.sh build $(ARGS)

run: .venv/.installed  ## start the Observer: this machine's metrics and the shipped recording
	@.venv/bin/observer run $(ARGS)

func:  ## the Functions app on this machine: Azurite and Azure Functions Core Tools
	@sh scripts/func.sh $(ARGS)

test test313: export PYTEST_DEBUG_TEMPROOT ?= $(shell sh scripts/find_memory_disk.sh)

test: setup ops-tools test313  ## all tests
	@.venv/bin/python -m pytest $(SPREAD) $(ARGS)

test313: $(AZURITE) venv313  ## the Functions app on its worker library, and the journal heads, on Python 3.13
	@if [ -x .venv313/bin/python ]; then .venv313/bin/python -m pytest $(SPREAD) $(ON_313); fi

venv313:  ## .venv313, where there is a Python 3.13
	@python=$$(sh scripts/find_python313.sh); \
	if [ -z "$$python" ]; then \
		echo "SKIPPED: no Python 3.13 on PATH or under pyenv; the Functions app is neither tested nor measured"; \
	else \
		$(MAKE) --no-print-directory .venv313/.installed PYTHON313="$$python"; \
	fi

.venv313/.installed: $(REQUIREMENTS)
	@sh scripts/make_venv.sh .venv313 $(PYTHON313)
	@touch $@

lint: setup  ## style, formatting, types, import contracts, forbidden text
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python scripts/check_tree.py

ops-tools: .venv-ops/.installed $(DCLINT)  ## .venv-ops and what else checks images, workflows, scripts, infrastructure
	@sh scripts/get_ops_tools.sh

.venv-ops/.installed: requirements-ops.txt scripts/make_venv.sh
	@sh scripts/make_venv.sh .venv-ops "$(PYTHON)" requirements-ops.txt
	@touch $@

$(DCLINT): scripts/dclint/package-lock.json
	@cd scripts/dclint && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

lint-ops: ops-tools  ## images, compose file, workflows, shell scripts, secrets, Terraform
	@bash scripts/lint_ops.sh
	@bash scripts/lint_images.sh
	@bash scripts/check_infra.sh

lint-page: .venv/.installed $(PAGE)  ## types, style and formatting of the web page; needs Node.js with npm
	@.venv/bin/python -m scripts.page.api_types
	@cd scripts/page && npx --no-install tsc -p tsconfig.json
	@cd scripts/page && npx --no-install biome check --error-on-warnings ../../observer_core/web/page

vendor: .venv/.installed $(PAGE)  ## take the page's libraries out of the locked npm packages anew
	@.venv/bin/python -m scripts.page.vendor

bench: setup  ## measure against the budgets
	@.venv/bin/python -m benchmarks.core $(ARGS)
	@.venv/bin/python -m benchmarks.tickers
	@.venv/bin/python -m benchmarks.page
	@.venv/bin/python -m benchmarks.series
	@.venv/bin/python -m benchmarks.packing
	@$(MAKE) --no-print-directory venv313
	@if [ -x .venv313/bin/python ]; then .venv313/bin/python -m benchmarks.functions; fi

bench-detect: setup  ## what the detectors find on labelled recordings and what it costs (DATA=../shared/data)
	@if [ -e .venv-peers/.installed ]; then $(MAKE) --silent --no-print-directory peers; fi
	@.venv/bin/python -m benchmarks.detect_nab --nab $(DATA)/nab-dev
	@.venv/bin/python -m benchmarks.detect_changes --data $(DATA)/change-points-dev
	@.venv/bin/python -m benchmarks.detect_market --data $(DATA)
	@.venv/bin/python -m benchmarks.detect_incidents $(DATA)
	@.venv/bin/python -m benchmarks.detect_exact --data $(DATA)
	@python=.venv/bin/python; if [ -e .venv-peers/.installed ]; then python=.venv-peers/bin/python; fi; \
		$$python -m benchmarks.detect_costs && $$python -m benchmarks.detect_peers --data $(DATA)

peers: .venv-peers/.installed  ## .venv-peers: what .venv holds, and river and stumpy to compare with

.venv-peers/.installed: $(REQUIREMENTS) requirements-peers.txt
	@sh scripts/make_venv.sh .venv-peers $(PYTHON)
	@.venv-peers/bin/python -m pip install -qq --disable-pip-version-check -r requirements-peers.txt
	@touch $@

soak: setup venv313  ## ten minutes of the Functions app: 4 workers, 8 sources a second (ARGS="--minutes N")
	@.venv313/bin/python -m benchmarks.soak $(ARGS)

pictures: setup  ## the screenshots in docs/images, in a real Chromium
	@.venv/bin/python scripts/page_pictures.py

lock:  ## pin requirements anew (ARGS=--upgrade: to the newest versions)
	@test -x .venv-lock/bin/uv || { python3 -m venv .venv-lock && .venv-lock/bin/pip install --quiet $(UV); }
	$(COMPILE) pyproject.toml --output-file requirements.txt
	$(COMPILE) --extra dev --constraint requirements.txt pyproject.toml --output-file requirements-dev.txt
	$(COMPILE) --extra peers --constraint requirements-dev.txt pyproject.toml --output-file requirements-peers.txt
	$(COMPILE) requirements-ops.in --output-file requirements-ops.txt
	@if command -v npm >/dev/null; then sh scripts/lock_npm.sh $(NPM); else echo "lock: SKIPPED $(NPM): no npm"; fi

clean:  ## remove what can be made again (never data or logs)
	rm -rf .venv .venv313 .venv-lock .venv-ops .venv-peers $(addsuffix /node_modules,$(NPM)) \
		build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
