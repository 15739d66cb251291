# Two commands on a fresh machine: `make demo` and `make test`. Python 3.11+ is all that is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo check test bench clean

setup: $(STAMP)

# uv (fetched from PyPI into the environment itself) resolves and installs in seconds what pip takes minutes for;
# compiling here saves every process that imports torch some seconds, where python may not write bytecode itself
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "toolkit needs Python 3.11 or newer; give one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup
	$(BIN)/toolkit demo

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

# two processes of one thread each: 5 minutes on 2 cores, against 8 in one process and 7 with two threads each
test: setup
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# the pass beside the usual scripts; make bench IMAGES=FOLDER measures on photos of yours
bench: setup
	$(BIN)/python -m benchmarks.embedding $(IMAGES)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
