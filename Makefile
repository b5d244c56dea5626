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

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install quickstart test system format lint types arrows spelling tests cluster lab tidy wheel lock clean

help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s%s\n", $$1, $$2}' Makefile

install: $(INSTALLED) ## Make .venv with the exact versions of requirements.lock.

$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "refkd needs Python 3.11 or newer: install it, or name it with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

quickstart: $(INSTALLED) ## Install, then run the main job: a small search on simulated data.
	$(BIN)/refkd search studies/quickstart.yaml

test: system format lint types arrows spelling tests cluster ## Run every check that CI runs.

system: ## Install what some tests need of the machine, where apt may be used.
	@sh .ci/system

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

tests: $(INSTALLED) ## Run the tests and doctests alone, JOBS files at once; ARGS goes to pytest.
	$(BIN)/pytest -m "not gpu and not cluster and not nightly" -n $(JOBS) --dist loadfile $(ARGS)

cluster: $(INSTALLED) ## Run the tests of a cluster of namespaces, alone on the machine: they need its cores.
	$(BIN)/pytest -m "cluster and not nightly and not gpu" tests/lab

lab: system $(INSTALLED) ## Run these and the nightly ones, which CI leaves out: half an hour.
	$(BIN)/pytest -m "cluster or nightly" tests

tidy: $(INSTALLED) ## Format the code and mend what ruff can mend.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## Resolve the ranges of pyproject.toml anew and write requirements.lock.
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --disable-pip-version-check '.[dev]'
	{ sed '/^[^#]/,$$d' requirements.lock; build/lock/bin/pip freeze --all \
		| sed -E '/^(#|-e |pip=|refkd[ =]|nvidia-|cuda-|triton)/d; s/\+cpu$$//'; } > build/requirements.lock
	mv build/requirements.lock requirements.lock
	rm -rf build/lock

wheel: $(INSTALLED) ## Build the wheel that the machines of a cluster install, into dist/.
	rm -rf dist
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	rm -rf build/bdist* build/lib

clean: ## Remove .venv and what the tools keep; never runs or datasets.
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
