# Both main targets build their own environment in .venv and need only Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SECONDS ?= 600
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install

.PHONY: demo test coverage fuzz lint types docs check clean

demo: $(VENV)/.demo  ## train on the bundled default data; writes model.json and report.html
	$(BIN)/anmin fit --seed 0 --max-time 12 --out model.json --report report.html

test: $(VENV)/.dev  ## run all tests
	$(BIN)/python -m pytest

fuzz: $(VENV)/.dev  ## throw new hostile inputs at everything that reads files, for about SECONDS
	ANMIN_FUZZ_SECONDS=$(SECONDS) $(BIN)/python -m pytest -s tests/test_hostile_*.py

coverage: $(VENV)/.dev  ## run all tests, and report which lines of the package they reach
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered --cov-report=html:build/coverage

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

docs: $(VENV)/.dev  ## build the documentation, with warnings as errors
	$(BIN)/python -m sphinx -W -n -q --keep-going -c docs -d build/doctrees . build/site
	@echo "Open build/site/index.html."

check: lint types docs test  ## everything that continuous integration runs

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "anmin needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(PIP) -e ".[plots]"
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	$(PIP) -e ".[dev]"
	@touch $@ $(VENV)/.demo
