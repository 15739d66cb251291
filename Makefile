# `make demo` and `make test` work on a fresh machine. Python 3.11 or newer and make are all that is needed.
# On Windows run make in Git Bash.
#
#   make setup              everything, with torch as PyPI has it (on Linux with CUDA: see docs/guide/install.md)
#   make setup TORCH=cpu    torch without CUDA, from the index that PyTorch keeps
#   make setup TORCH=slim   torch with CUDA from PyPI, without the parts that run nothing here
#   make PYTHON=/path/to/python3.12 setup
SHELL := bash
ifeq ($(OS),Windows_NT)
PYTHON ?= python
SCRIPTS := Scripts
else
PYTHON ?= python3
SCRIPTS := bin
endif
VENV := .venv
BIN := $(VENV)/$(SCRIPTS)
STAMP := $(VENV)/.installed
LOWEST := .venv-lowest
DEMO ?=
# two processes of one thread each: 6.5 minutes on 2 cores; one process, or two threads each, take longer
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

TORCH ?= default
FLAGS_default :=
FLAGS_cpu := --torch-backend cpu
FLAGS_slim := --override overrides.txt
$(if $(filter $(TORCH),default cpu slim),,$(error TORCH=$(TORCH) is not known; give default, cpu or slim))

.PHONY: setup demo check test faults fuzz docs lowest coverage bench audit clean

setup: $(STAMP)

# uv (fetched from PyPI into the environment itself) resolves and installs in seconds what pip takes minutes for;
# compiling here saves every process that imports torch some seconds, where Python may not write bytecode itself
$(STAMP): pyproject.toml setup.py constraints.txt overrides.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "toolkit needs Python 3.11 or newer; give one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --constraint constraints.txt \
		$(FLAGS_$(TORCH)) --editable '.[dev]'
	@touch $@

# make demo DEMO='--n 60' draws fewer pictures
demo: setup
	$(BIN)/toolkit demo $(DEMO)

check: setup docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q --doctest-modules toolkit tests/docs/test_docstrings.py

test: setup
	$(PYTEST)

# every command killed, and refused by the disk, at each of its disk operations: an hour; FAULTS='--step 9' tries fewer
faults: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults $(FAULTS)

# many damaged files through every reader; what went wrong is listed below the table
FUZZ ?= 100000
fuzz: setup
	$(BIN)/python -m tests.fuzz --inputs $(FUZZ)

# offline; a warning is an error; the pages are in docs/_build/html/
docs: setup
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs docs/_build/html

# the lowest versions that pyproject.toml allows, in an environment of its own; the tests with a made-up GPU need
# fake tensors of torch that ask for no driver, which those of torch 2.5 to 2.9 do
lowest: setup
	$(PYTHON) -m venv --clear $(LOWEST)
	$(BIN)/uv pip install --python $(LOWEST)/$(SCRIPTS)/python --resolution lowest-direct $(FLAGS_$(TORCH)) --editable '.[test]'
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(LOWEST)/$(SCRIPTS)/python -m pytest -n 2 --dist worksteal -m 'not slow' \
		--ignore tests/backbones/test_made_up_cuda.py

coverage: setup
	$(PYTEST) --cov --cov-report=term --cov-report=html

# the pass beside the usual scripts; make bench IMAGES=FOLDER measures on photos of yours
bench: setup
	$(BIN)/python -m benchmarks.embedding $(IMAGES)

# known vulnerabilities of everything pinned, as PyPI lists them; --strict: what could not be asked about is an error.
# It needs the network; make audit AUDIT='--vulnerability-service osv' asks OSV instead
audit: setup
	$(BIN)/uvx --quiet pip-audit --strict --disable-pip --no-deps --requirement constraints.txt $(AUDIT)

clean:
	rm -rf $(VENV) $(LOWEST) build dist docs/_build htmlcov .coverage .coverage.* *.egg-info .mypy_cache .ruff_cache \
		.pytest_cache .import_linter_cache
