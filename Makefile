# make demo: the whole graph on a synthetic data set. make test: the tests. make slow: the tests that take half a minute and more each.
# make bench: every hot path against the common baseline (QUICK=1: a look in two minutes).
# make faults: a small graph killed, signalled and damaged at random moments (MOMENTS=200). make fuzz: arbitrary files for every reader
# (EXAMPLES each). make mutants: which changes of the code no test notices. make licences: those of all locked packages. See docs/reliability.md.
# Each installs the environment first, in .venv, from requirements.lock.

PYTHON ?= python3
VENV ?= .venv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(BIN):$(PATH)
# waiting threads sleep: on a machine that does other work, spinning threads cost more than they save
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test slow bench faults fuzz mutants licences lint lock env

demo: $(READY)
	dvc repro
	handbone score

# two processes, one file at a time each, the longest first; tests of networks between two, until the graph that these share has run
PYTEST := pytest -n 2 --dist loadfile --no-loadscope-reorder

test: $(READY)
	$(PYTEST) tests/test_pipeline_trainings.py tests/models tests/test_pipeline.py tests/test_pipeline_commands.py tests

slow: $(READY)
	$(PYTEST) -m slow

bench: $(READY)
	QUICK=$(QUICK) python -m benchmarks

RELIABILITY := PYTHONPATH=src:tests python -m reliability
MOMENTS ?= 200
EXAMPLES ?= 77000

faults: $(READY)
	$(RELIABILITY).faults --moments $(MOMENTS) $(FAULTS)

fuzz: $(READY)
	FUZZ_EXAMPLES=$(EXAMPLES) pytest -n 2 tests/test_fuzz.py

mutants: $(READY)
	$(RELIABILITY).mutants

licences: $(READY)
	$(RELIABILITY).licences

lint: $(READY)
	ruff check .
	ruff format --check .
	mypy

env: $(READY)

# uv installs the locked versions and checks their hashes; it comes from the lock itself.
# Byte code is compiled at once: every stage is a process that imports PyTorch.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ...')"
	$(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r $(VENV)/uv.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $(READY)

# newer versions for requirements.lock, within pyproject.toml's ranges
lock: $(READY)
	uv pip compile --quiet pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header --upgrade -o requirements.lock
