# Everything a developer runs. `make help` lists the targets; each says what it does in the line it is declared on.
# Needs Python >= 3.11 and make, nothing else: all other tools go into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# An installation of its own: what is compiled would hide the source beside it.
FAST   := .venv-compiled

SUBSTATIONS ?= 3
PYTEST_ARGS ?=
# Tests wait for processes most of the time: more workers than one core each would only make them wait for each other.
WORKERS ?= 2

# What tests use beyond Python; each test that needs one says so (`@pytest.mark.needs`) and skips without it.
TEST_PROGRAMS := curl tmux procps openssl prometheus prometheus-alertmanager
# kubectl comes in several packages that do not go together: whichever is there will do.
TEST_PROGRAMS += $(if $(shell command -v kubectl),,kubernetes-client)
# A C compiler, and this Python's headers: Debian has those of its own Python in a package, other Pythons bring theirs.
TEST_PROGRAMS += $(if $(shell command -v cc),,gcc libc6-dev)
HEADERS := $(shell $(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null)
TEST_PROGRAMS += $(if $(wildcard $(HEADERS)/Python.h),,python3-dev)

# What `make bench` compares with and compiles by, as program:Debian package.
BENCH_PROGRAMS := haproxy:haproxy nginx:nginx-light wrk:wrk cc:gcc python3-config:python3-dev
BENCH_ARGS ?=
GROWTH_ARGS ?=
THOUSAND_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help up install wheel compiled test test-compiled coverage test-deps check format bench bench-growth thousand bench-deps bench-more docs dashboards dashboards-picture picture herd lock clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

up: install ## Start a grid of SUBSTATIONS=3 here, with its live table, until Ctrl-C
	@$(BIN)/gridctl up --substations $(SUBSTATIONS)

install: $(STAMP) ## Put gridctl and all development tools into .venv

$(STAMP): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, but $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Could not make $(VENV). On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -m compileall -q config monitoring services gridctl
	@touch $(STAMP)

wheel: install ## A wheel of gridctl in dist/ whose busiest modules are compiled for this machine; needs a C compiler
	@command -v $${CC:-cc} >/dev/null || { echo "No C compiler. On Debian and Ubuntu: apt-get install gcc python3-dev"; exit 1; }
	@echo "Compiling (about a minute) …"
	@rm -rf build dist
	@GRIDCTL_COMPILE=1 $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps -w dist .

compiled: wheel ## That wheel, installed in .venv-compiled: half as many requests a second again (docs/performance.md)
	@test -x $(FAST)/bin/pip || $(PYTHON) -m venv $(FAST)
	@$(FAST)/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps dist/*.whl
	@$(FAST)/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	@echo "Compiled: $(FAST)/bin/gridctl"

check: install ## Lint, formatting, types, the tower of imports and the house's own rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -q tests/test_house.py

test: check ## Everything this machine can run; what lacks a program skips and says which
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

# In a copy: what is compiled in place would hide the sources. What was compiled before is kept, so the next time is quick.
test-compiled: install ## The services' tests, on what `make wheel` compiles (others: PYTEST_ARGS=tests/e2e)
	@mkdir -p build/compiled
	@find build/compiled -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
	@git ls-files -co --exclude-standard -z | tar -c --null -T - | tar -x -C build/compiled
	cd build/compiled && GRIDCTL_COMPILE=1 $(CURDIR)/$(BIN)/python setup.py --quiet build_ext --inplace
	cd build/compiled && PYTHONPATH=$(CURDIR)/build/compiled $(CURDIR)/$(BIN)/python -m pytest -m 'not interpreted' \
	  -n $(WORKERS) --dist worksteal $(or $(PYTEST_ARGS),tests/services)

coverage: install ## All tests, with the coverage of every process and its gate; takes half as long again
	@rm -f .coverage .coverage.*
	$(BIN)/pytest --cov --cov-report=term -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

test-deps: ## Install the programs that tests use (Debian or Ubuntu, as root)
	@missing=""; for each in $(TEST_PROGRAMS); do \
	  dpkg-query -W -f '$${Status}' $$each 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$each"; done; \
	if ! command -v apt-get >/dev/null; then echo "Not Debian: please install these yourself: $(TEST_PROGRAMS)"; \
	elif [ -z "$$missing" ]; then echo "All there: $(TEST_PROGRAMS)"; \
	elif [ "$$(id -u)" != 0 ]; then echo "Not root. Please run: sudo apt-get install -y$$missing"; exit 1; \
	else apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; fi

format: install ## Let ruff format and repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A plain `make bench` keeps what it found; with BENCH_ARGS it only prints, unless they say --results and --picture.
bench: compiled ## gridctl, compiled and plain, beside HAProxy, nginx, one substation and Flask (a quarter of an hour; BENCH_ARGS=--quick: four minutes)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@$(FAST)/bin/python -m pip install --quiet --disable-pip-version-check "$$(echo dist/*.whl)[bench]"
	@$(FAST)/bin/python -m benchmarks.bench $(or $(BENCH_ARGS),--beside plain=$(abspath $(BIN))/python --results benchmarks/results.json --picture docs/bench.svg)

bench-growth: install ## How costs grow with substations (3 to 1,000) and live sessions (100 to a million); half an hour
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@$(BIN)/python -m benchmarks.growth $(or $(GROWTH_ARGS),--results benchmarks/growth.json --picture docs/growth.svg)

thousand: compiled ## 1,000 substations in one cluster, 10,000 before a balancer alone, against their targets (ten minutes)
	@$(FAST)/bin/python -m pip install --quiet --disable-pip-version-check "$$(echo dist/*.whl)[bench]"
	@$(FAST)/bin/python -m benchmarks.thousand $(THOUSAND_ARGS)

bench-deps: ## Install the programs that `make bench` compares with (Debian or Ubuntu, as root)
	@missing=""; for each in $(BENCH_PROGRAMS); do command -v $${each%%:*} >/dev/null || missing="$$missing $${each##*:}"; done; \
	if [ -z "$$missing" ]; then echo "All there: $(BENCH_PROGRAMS)"; \
	elif ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then echo "Please install, as root:$$missing"; exit 1; \
	else apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; fi

bench-more: install ## Run every other benchmark in benchmarks/ (most of an hour; leave the machine alone meanwhile)
	@set -e; for each in compose_start decision hundred journal limits mixed_sizes reference_run top_cost; do \
	  echo "== benchmarks/$$each.py"; $(BIN)/python -m benchmarks.$$each; done

picture: install ## Make docs/top.svg anew: `gridctl top` of a real grid under load (about a minute)
	@$(BIN)/python -P docs/picture.py docs/top.svg

herd: install ## Make docs/herd.svg anew: 100 substations under load, the naive design and the ledger (six minutes)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@$(BIN)/python -P benchmarks/limits.py --cells 100x10@0.8/naive 100x10@0.8 --arrivals 8000 --picture docs/herd.svg

docs: install ## Make the reference anew: docs/cli.md, docs/topology.md, docs/monitoring.md and the verbs in README.md
	@$(BIN)/python -P docs/reference.py

dashboards: install ## Make Grafana's dashboards anew from monitoring/grafana: grid.json and services.json
	@$(BIN)/python -P docs/dashboards.py

# hdrhistogram (and what only it needs) is the load tester's; it has no wheel for arm64, and images build nothing.
lock: install ## Pin what the images install anew, with hashes: gridctl/export/requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lock]'
	@$(BIN)/uv pip compile setup.cfg --universal --python-version 3.11 --generate-hashes --upgrade --no-config --quiet \
	  --no-emit-package hdrhistogram --no-emit-package pbr --no-emit-package setuptools \
	  --custom-compile-command 'make lock' --output-file gridctl/export/requirements.txt

dashboards-picture: install ## Make docs/dashboard-*.svg anew: both dashboards, from what a Prometheus saw of a grid (five minutes)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@$(BIN)/python docs/dashboards_picture.py

clean: ## Remove what was built, installed and cached (not the state of clusters)
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* htmlcov
	rm -rf .hypothesis .schemathesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
