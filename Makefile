# The few commands of the project; `make` alone lists them.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The first Python of 3.11 or newer that is found; name another with `make test PYTHON=...`.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Where this is set, each of the tests' hundreds of processes would compile the project anew.
unexport PYTHONDONTWRITEBYTECODE
# Test files run side by side: two fill two cores.
JOBS ?= 2
# More for pytest, such as `make tests JOBS=0 ARGS="-x -k grid"`.
ARGS ?=
PYTEST := $(BIN)/pytest --durations 20
RESOLVE = mkdir -p build && $(BIN)/uv pip compile --quiet --no-header --no-annotate \
	--python-version 3.11 --extra dev pyproject.toml
# torch and the libraries that its builds for a GPU bring along, each with the hashes below it.
WITHOUT_TORCH := awk '/^[^ ]/ {kept = !/^(torch==|nvidia-|cuda-|triton==)/} kept'
# What `make test-nightly` draws at random: other examples each time, unless it is named.
ifeq ($(SEED),)
override SEED := $(shell date +%s)
endif
# How many faults `make mutants` plants, which, and where.
NUMBER ?= 126
FAULTS ?= 0
PATHS ?= refkd/distill refkd/evaluation refkd/data refkd/training/checkpoint.py \
	tune/study tune/results tune/tracking

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install quickstart check test test-system test-nightly test-lowest audit programs \
	format lint types arrows spelling tests mutants tidy wheel lock clean

help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s%s\n", $$1, $$2}' Makefile

install: $(INSTALLED) ## Make .venv with the exact versions of requirements.lock.

$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "refkd needs Python 3.11 or newer: install it, or name it with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --disable-pip-version-check --no-build-isolation -e . # and torch
	@touch $@

quickstart: $(INSTALLED) ## Install, then run the main job: a small search on simulated data.
	$(BIN)/refkd search studies/quickstart.yaml

check: format lint types arrows spelling ## Check format, lint, types, import arrows and spelling.

test: check programs tests ## Check, and run every test that needs one machine and 20 seconds.

test-system: programs $(INSTALLED) ## Run real kills, servers, journeys in a browser, and a cluster.
	$(PYTEST) -m "system and not cluster" -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)
	$(PYTEST) -m "system and cluster" tests/lab $(ARGS)

test-nightly: programs $(INSTALLED) ## Run the rest, and search anew for what breaks a property.
	@echo "repeat with: make test-nightly SEED=$(SEED)"
	REFKD_TEST_SEED=$(SEED) $(PYTEST) -m "(nightly or hypothesis) and not cluster and not gpu" \
		-n $(JOBS) --dist loadfile --randomly-seed $(SEED) --hypothesis-seed $(SEED) \
		--hypothesis-profile nightly $(ARGS); first=$$?; \
	$(PYTEST) -m "nightly and cluster" tests/lab $(ARGS) && exit $$first

test-lowest: ## Run the tests of `make test` with the lowest versions that pyproject.toml allows.
	$(RESOLVE) --resolution lowest-direct -o build/resolved.txt
	$(WITHOUT_TORCH) build/resolved.txt > build/lowest.txt
	$(PYTHON) -m venv --clear build/lowest
	build/lowest/bin/pip install --disable-pip-version-check -r build/lowest.txt
	build/lowest/bin/pip install --disable-pip-version-check --no-build-isolation -e .
	build/lowest/bin/pytest -m "not system and not nightly and not gpu" -n $(JOBS) --dist loadfile $(ARGS)

audit: $(INSTALLED) ## Look up known vulnerabilities of the versions in requirements.lock.
	$(BIN)/uv tool run pip-audit --strict --disable-pip --require-hashes -r requirements.lock

programs: ## Install what some tests need of the machine, where apt may be used.
	@sh .ci/programs

format: $(INSTALLED)
	$(BIN)/ruff format --check .

lint: $(INSTALLED)
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/mypy

arrows: $(INSTALLED)
	$(BIN)/lint-imports

spelling: $(INSTALLED)
	$(BIN)/codespell

tests: $(INSTALLED) ## Run the tests of `make test` alone, JOBS files at once; ARGS goes to pytest.
	$(PYTEST) -m "not system and not nightly and not gpu" -n $(JOBS) --dist loadfile $(ARGS)

mutants: $(INSTALLED) ## Plant faults in PATHS, one at a time, and report which of them no test sees.
	$(BIN)/python tests/mutants/run.py $(PATHS) --number $(NUMBER) --seed $(FAULTS) \
		--jobs $(JOBS) $(ARGS)

tidy: $(INSTALLED) ## Format the code and mend what ruff can mend.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(INSTALLED) ## Resolve the ranges of pyproject.toml anew and write both files of versions.
	$(RESOLVE) --universal --generate-hashes -o build/resolved.txt
	{ sed '/^[^#]/,$$d' requirements.lock; $(WITHOUT_TORCH) build/resolved.txt; } > build/requirements.lock
	mv build/requirements.lock requirements.lock
	{ sed '/^[^#]/,$$d' constraints.txt; \
		sed -nE '/^(nvidia-|cuda-|triton=)/!s/^([a-zA-Z].*) \\$$/\1/p' build/resolved.txt; } > build/constraints.txt
	mv build/constraints.txt constraints.txt

wheel: $(INSTALLED) ## Build the wheel that the machines of a cluster install, into dist/.
	rm -rf dist
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	rm -rf build/bdist* build/lib

clean: ## Remove .venv and what the tools keep; never runs or datasets.
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
