# Coachman. `make` alone lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# --no-deps: a lock names all there is to install. Left to resolve, pip before 24 goes past coverage==X to the
# newest coverage[toml] there is, which has no hash.
PIP_FLAGS := --quiet --disable-pip-version-check --no-deps --require-hashes

# Most of a test is waiting for what it has started.
PARALLEL := -n 4 --dist worksteal
BULK := --ignore=tests/vm --ignore=tests/container --ignore=tests/swarm --ignore=tests/foreign --ignore=tests/pythons

.DEFAULT_GOAL := help
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' $(firstword $(MAKEFILE_LIST)))

help: ## List these targets
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use it
run: $(VENV)/runtime ## Migrate the database and serve on 127.0.0.1:8000; Ctrl-C ends it
	@$(BIN)/python -m coachman check
	@$(BIN)/python -m app migrate
	@exec $(BIN)/gunicorn

show: $(VENV)/runtime ## Show it in a minute: load, killed workers, a handover, a refused release
	@$(BIN)/python -m app migrate
	@$(BIN)/python -m coachman show --path /items

demo-data: $(VENV)/runtime ## Fill the database with thousands of real items
	@$(BIN)/python -m app demo-data

dist: $(VENV)/development ## Build the package: a wheel and an sdist in dist/
	@rm -rf dist
	@$(BIN)/uv build --quiet --out-dir dist .
	@ls dist

wheelhouse: $(VENV)/development ## Collect in build/wheels what `coachman install` needs without a network
	@scripts/wheelhouse build/wheels

docs: $(VENV)/docs ## Build these docs as a site, with search, in build/docs; a broken link is an error
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -c docs/site . build/docs
	@echo "Open build/docs/index.html"

##@ Work on it
environment: $(VENV)/development $(VENV)/loadtests $(VENV)/docs

ifdef ARGS
test: environment ## Run all tests but those of whole machines; with ARGS a part, one by one
	@$(BIN)/python -m pytest $(BULK) $(ARGS)
else
test: test-parallel test-timing
endif

test-parallel: environment
	@$(BIN)/python -m pytest $(BULK) -m "not timing" $(PARALLEL)

test-timing: environment
	@$(BIN)/python -m pytest $(BULK) -m timing

soak: environment ## Run the tests with random or repeated volumes in full; 20 minutes
	@TESTS_SOAK=1 $(BIN)/python -m pytest $(BULK) -m soak $(ARGS)

coverage: environment ## Run the tests with coverage of app/ and coachman/, which takes longer
	@$(BIN)/python -m pytest $(BULK) -m "not timing" $(PARALLEL) --cov --cov-report=
	@$(BIN)/python -m pytest $(BULK) -m timing --cov --cov-append --cov-report=term-missing:skip-covered

test-compiler: $(VENV)/development ## Run FastAPI's own tests compiled (ARGS=--older, --starlette, --part); 5 minutes
	@$(BIN)/python -m tests.compiler.conformance $(ARGS)

test-foreign: $(VENV)/development ## Run published applications, each in an environment of its own; needs a registry
	@$(BIN)/python -m pytest tests/foreign $(ARGS)

test-pythons: $(VENV)/development ## Run the installed wheel on each Python that is here; needs a registry
	@$(BIN)/python -m pytest tests/pythons $(ARGS)

test-peers: $(VENV)/development ## Run Uvicorn's and databases' own tests against what takes their place here
	@$(BIN)/python -m tests.peers

test-container: $(VENV)/development ## Build the image and run the Deployment with Podman; as root
	@$(BIN)/python -m pytest tests/container $(ARGS)

test-swarm: $(VENV)/development $(VENV)/loadtests ## Run the stack on a Swarm of three nodes in namespaces of their own; as root
	@$(BIN)/python -m pytest -p tests.support.keep_proof tests/swarm $(ARGS)

test-vm: $(VENV)/development ## Run the tests on machines with a systemd of their own; as root
	@$(BIN)/python -m pytest tests/vm -m "not qemu" -n 2 --dist loadfile $(ARGS)

test-qemu: $(VENV)/development ## Run the tests on emulated machines: limits, power cuts; as root
	@$(BIN)/python -m pytest -p tests.support.keep_proof tests/vm/qemu $(ARGS)

check: $(VENV)/development $(VENV)/loadtests ## Types, style and import rules; changes nothing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/check_layout.py

lint: $(VENV)/development ## Fix style where a tool can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/development ## Compare with the usual deployment, as ratios
	@$(BIN)/python benchmarks/against_stock.py $(ARGS)

bench-edge: $(VENV)/development ## Compare requests per CPU-second with the stock worker (needs wrk)
	@$(BIN)/python benchmarks/edge.py $(ARGS)

compare: $(VENV)/loadtests $(VENV)/runtime ## Measure how many workers to run; under 10 minutes, a report
	@$(BIN)/python -m loadtests compare $(ARGS)

servers: $(VENV)/benchmarks ## Compare with other servers, same application (needs wrk; ARGS=--write for the docs)
	@$(BIN)/python benchmarks/servers.py $(ARGS)

bench-fairness: $(VENV)/benchmarks ## Compare how evenly servers spread connections (needs wrk; ARGS=--write for the docs)
	@$(BIN)/python benchmarks/fairness.py $(ARGS)

bench-nginx: $(VENV)/development ## Compare kept connections between nginx and workers with fresh ones (needs wrk)
	@$(BIN)/python benchmarks/nginx.py $(ARGS)

bench-accept: $(VENV)/development ## Compare what accepting a connection costs, in turn and as the loop does
	@$(BIN)/python benchmarks/accept.py $(ARGS)

drill: $(VENV)/loadtests $(VENV)/runtime ## Kill workers under load and account for every request
	@$(BIN)/python -m loadtests drill $(ARGS)

samples: $(VENV)/loadtests $(VENV)/runtime ## Make the reports of docs/samples anew; 15 minutes on a quiet machine
	@rm -rf build/samples
	@$(BIN)/python -m loadtests compare --max-minutes 14 --out build/samples/compare $(ARGS) || test $$? = 3
	@$(BIN)/python -m loadtests drill --out build/samples/drill
	@mkdir -p docs/samples
	@cp build/samples/compare/report.html docs/samples/workers.html
	@cp build/samples/drill/report.html docs/samples/drill.html

bench-abuse: $(VENV)/development ## Attack Coachman and the usual deployment in turn, and compare
	@$(BIN)/python benchmarks/abuse.py $(ARGS)

bench-reload: $(VENV)/development ## Compare waits while a release takes over with waits between
	@$(BIN)/python benchmarks/reload.py $(ARGS)

bench-preload: $(VENV)/development ## Compare replacement and memory of workers without a shared import
	@$(BIN)/python benchmarks/preload.py $(ARGS)

bench-compiler: $(VENV)/development ## Compare what a request costs in FastAPI, compiled and not
	@$(BIN)/python benchmarks/compiler.py $(ARGS)

bench-database: $(VENV)/development ## Compare the data layer with stock databases and aiosqlite
	@$(BIN)/python benchmarks/database.py $(ARGS)

bench-processes: $(VENV)/development ## Compare four processes on one SQLite file with held connections
	@$(BIN)/python benchmarks/database_processes.py $(ARGS)

bench-http-database: $(VENV)/development ## Compare requests that read and write a database (needs wrk)
	@$(BIN)/python benchmarks/http_database.py $(ARGS)

bench-observability: $(VENV)/development ## Compare with metrics, ids and access log against without (needs wrk)
	@$(BIN)/python benchmarks/observability.py $(ARGS)

lock: $(VENV)/development ## Make the locks anew from pyproject.toml (ARGS=--upgrade for newer versions)
	@scripts/lock $(ARGS)

clean: ## Remove the virtual environment and the caches, not var/
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*

$(BIN)/python:
	@scripts/make-venv $(PYTHON) $(VENV)

$(VENV)/runtime: requirements.txt | $(BIN)/python
	@echo "Installing what the service needs..."
	@$(BIN)/python -m pip install $(PIP_FLAGS) -r requirements.txt
	@touch $@

$(VENV)/development: requirements-dev.txt $(VENV)/runtime
	@echo "Installing what the tests need..."
	@$(BIN)/python -m pip install $(PIP_FLAGS) -r requirements-dev.txt
	@touch $@

$(VENV)/benchmarks: benchmarks/requirements.txt $(VENV)/development
	@echo "Installing the servers to compare with..."
	@$(BIN)/python -m pip install $(PIP_FLAGS) -r benchmarks/requirements.txt
	@touch $@

$(VENV)/docs: docs/site/requirements.txt $(VENV)/runtime
	@echo "Installing what the site of the docs needs..."
	@$(BIN)/python -m pip install $(PIP_FLAGS) -r docs/site/requirements.txt
	@touch $@

$(VENV)/loadtests: loadtests/requirements.txt | $(BIN)/python
	@echo "Installing what the load tests need..."
	@$(BIN)/python -m pip install $(PIP_FLAGS) -r loadtests/requirements.txt
	@touch $@
