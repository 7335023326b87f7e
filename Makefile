# Every target does its own set-up. Prerequisites: Python 3.11 or later, and make.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMPS := .stamps
PYTEST_ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

# ── Set-up ───────────────────────────────────────────────────────────────────────────────────

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "FATE-Chain needs Python 3.11 or later; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Creating the virtual environment ..."
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "python -m venv failed; on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/runtime: $(STAMPS)/venv .requirements/runtime.lock pyproject.toml
	@echo "Installing the pinned packages ..."
	@$(BIN)/python -m pip install --quiet --requirement .requirements/runtime.lock
	@$(BIN)/python -m pip install --quiet --no-deps --editable .
	@echo "Compiling the arithmetic of private products, of matching and of shares ..."
	@$(BIN)/python -m ml.crypto.lattice
	@$(BIN)/python -m ml.protocols.psi
	@$(BIN)/python -m ml.protocols.shares
	@touch $@

$(STAMPS)/dev: $(STAMPS)/runtime .requirements/dev.lock
	@echo "Installing the pinned development packages ..."
	@$(BIN)/python -m pip install --quiet --requirement .requirements/dev.lock
	@touch $@

# npm from the machine, or from a wheel where the machine has none. Install scripts stay off:
# the packages hold ready binaries.
$(STAMPS)/npm: $(STAMPS)/venv .requirements/npm.lock
	@command -v npm >/dev/null 2>&1 && command -v node >/dev/null 2>&1 \
	  || { echo "No npm here: taking Node from a wheel ..."; \
	       $(BIN)/python -m pip install --quiet --requirement .requirements/npm.lock; }
	@touch $@

define npm_ci
@echo "Installing the npm packages of $(1) ..."
@cd $(1) && PATH="$$PATH:$(CURDIR)/$(BIN)" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
@touch $@
endef

$(STAMPS)/testnet: $(STAMPS)/npm ganache/package-lock.json
	$(call npm_ci,ganache)

$(STAMPS)/compiler: $(STAMPS)/npm contracts/package-lock.json
	$(call npm_ci,contracts)

# A person's browser, for the tests of the pages.
$(STAMPS)/browser:
	@command -v chromium >/dev/null 2>&1 \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 \
	       && echo "No chromium here: installing it ..." \
	       && apt-get update -qq >/dev/null \
	       && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; } \
	  || { echo "The tests of the pages need chromium on the PATH; install it (Debian: apt-get install chromium)" >&2; exit 1; }
	@mkdir -p $(STAMPS) && touch $@

# The library that Go's checksum database is read with, for a test that it reads our logs, too.
$(STAMPS)/foreign:
	@{ command -v go >/dev/null 2>&1 && [ -d /usr/share/gocode/src/golang.org/x/mod/sumdb/tlog ]; } \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 \
	       && echo "No foreign reader of logs here: installing it ..." \
	       && apt-get update -qq >/dev/null \
	       && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends golang-go golang-golang-x-mod-dev >/dev/null; } \
	  || { echo "A test reads logs with golang.org/x/mod; install it (Debian: apt-get install golang-go golang-golang-x-mod-dev)" >&2; exit 1; }
	@mkdir -p $(STAMPS) && touch $@

# The demonstration goes on without one, and says so.
$(STAMPS)/auditor: $(STAMPS)/runtime .requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --constraint .requirements/dev.lock playwright
	@$(MAKE) --no-print-directory $(STAMPS)/browser || echo "The demonstration looks at no pages." >&2
	@touch $@

# The tools that look into the contracts want other versions of our packages.
$(STAMPS)/analysis: .requirements/analysis.lock
	@echo "Installing the pinned analysis tools ..."
	@$(PYTHON) -m venv .venv-analysis
	@.venv-analysis/bin/python -m pip install --quiet --requirement .requirements/analysis.lock
	@mkdir -p $(STAMPS) && touch $@

.PHONY: setup
setup: $(STAMPS)/runtime $(STAMPS)/testnet ## Install what a node and the testnet need

# ── Run ──────────────────────────────────────────────────────────────────────────────────────

.PHONY: demo
demo: setup $(STAMPS)/auditor ## Four institutions, one chain, a first audited federated model (KEEP=1 leaves it running)
	@$(BIN)/fatechain demo $(if $(KEEP),--keep)

.PHONY: testnet
testnet: setup ## Start the local testnet (ENGINE=anvil or ganache)
	@$(BIN)/fatechain testnet --engine $(or $(ENGINE),anvil)

.PHONY: contracts
contracts: $(STAMPS)/runtime $(STAMPS)/compiler ## Compile the contracts into chain/artifacts
	@$(BIN)/python -m chain.compile

.PHONY: bench
bench: $(STAMPS)/runtime ## Measure against the plain computation
	@$(BIN)/python -m benchmarks psi
	@$(BIN)/python -m benchmarks secureboost

# ── Check ────────────────────────────────────────────────────────────────────────────────────

.PHONY: check
check: $(STAMPS)/dev ## Lint, format and types
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary

.PHONY: contracts-check
contracts-check: $(STAMPS)/contracts-check ## Lint, fuzz, analyse and prove the contracts

CONTRACTS := $(wildcard contracts/*.* contracts/.solhint.json contracts/interfaces/* contracts/libraries/* contracts/test/*)
# Seeded and pinned: what passed once passes until a contract, a test or a tool changes.
$(STAMPS)/contracts-check: $(CONTRACTS) $(STAMPS)/compiler $(STAMPS)/analysis
	@echo "Checking the contracts ..."
	@PATH="$(CURDIR)/.venv-analysis/bin:$(CURDIR)/contracts/node_modules/.bin:$$PATH:$(CURDIR)/$(BIN)" contracts/check.sh
	@touch $@

.PHONY: test
test: check contracts-check $(STAMPS)/testnet $(STAMPS)/compiler $(STAMPS)/browser $(STAMPS)/foreign ## Everything that CI runs
	@echo "Testing parts, and pages in a browser ..."
	@$(BIN)/python -m pytest -m "not system" -n 2 --dist loadfile $(PYTEST_ARGS)
	$(if $(PYTEST_ARGS),,@$(MAKE) --no-print-directory engines)
	@echo "Testing real consortia of processes ..."
	@$(BIN)/python -m pytest -m system $(PYTEST_ARGS)

.PHONY: engines
engines: $(STAMPS)/dev $(STAMPS)/testnet $(STAMPS)/compiler ## The contracts' tests on Anvil and on Ganache
	@for engine in anvil ganache; do \
	  echo "Testing the contracts on $$engine ..."; \
	  $(BIN)/python -m pytest tests/contracts --ignore tests/contracts/test_artifacts.py \
	    --engine $$engine -n 2 --dist loadfile || exit 1; done

.PHONY: lock
lock: $(STAMPS)/venv ## Pin again from pyproject.toml
	@$(BIN)/python -m pip install --quiet pip-tools==7.6.2
	@cd .requirements && for set in runtime dev; do \
	  ../$(BIN)/pip-compile --quiet --no-header --no-annotate --strip-extras --no-emit-index-url \
	    --no-emit-find-links --no-emit-options --no-emit-trusted-host \
	    $$([ $$set = dev ] && echo --extra dev) --output-file $$set.lock ../pyproject.toml; done

.PHONY: clean
clean: ## Remove what the other targets made
	@rm -rf $(VENV) .venv-analysis $(STAMPS) .demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  ganache/node_modules contracts/node_modules
