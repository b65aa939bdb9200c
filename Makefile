# `make demo` and `make test` set up all they need in .venv; needs python3 (3.11 or newer) with venv.

PYTHON ?= python3
HOSTS ?= 3
FAULTS ?=
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test lint format bench bench-fleet impact chaos examples lab lab-down lab-rebuild clean

help:
	@echo "make demo         a tour on a copy of the example host: no Docker, no root"
	@echo "make test         lint, types, and all tests that this machine can run"
	@echo "make lint         ruff and mypy"
	@echo "make format       ruff format"
	@echo "make bench        measure on an engine; bench-fleet on many hosts (root, Debian)"
	@echo "make impact       what plans say that changes break, against what they break (root, Debian)"
	@echo "make chaos        hit applies at every step, and try bad configurations (root, Debian; four hours)"
	@echo "make examples     make the files in examples/ anew"
	@echo "make lab HOSTS=3  bring up throwaway servers (root, Debian); lab-down, lab-rebuild"
	@echo "make clean        remove .venv, build/ and caches"

demo: $(VENV)/installed
	@$(BIN)/python -m examples.demo

test: $(VENV)/installed-dev
	@failed=; \
	$(MAKE) --no-print-directory lint || failed="lint "; \
	$(BIN)/python -m pytest -ra -n 2 --dist loadfile tests/unit tests/compose tests/demo || failed="$${failed}unit "; \
	$(BIN)/python -m pytest -ra -n 2 --dist loadfile tests/chaos tests/impact tests/lab tests/engine || failed="$${failed}engine-and-lab"; \
	if [ -n "$$failed" ]; then echo "Failed: $$failed"; exit 1; fi

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/installed-dev
	$(BIN)/python -m tests.bench

bench-fleet: $(VENV)/installed-dev
	$(BIN)/python -m tests.bench.fleet

impact: $(VENV)/installed-dev
	$(BIN)/python -m tests.impact

chaos: $(VENV)/installed-dev
	$(BIN)/python -m tests.chaos $(if $(FAULTS),--faults $(FAULTS))

examples: $(VENV)/installed-dev
	$(BIN)/python -m examples.regenerate

lab: $(VENV)/installed-dev
	$(BIN)/python -m tests.lab up --hosts $(HOSTS)

lab-down: $(VENV)/installed-dev
	$(BIN)/python -m tests.lab down

lab-rebuild: $(VENV)/installed-dev
	$(BIN)/python -m tests.lab build --rebuild

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are as old as the last installation: a changed pyproject.toml installs anew.
$(VENV)/installed: $(BIN)/python pyproject.toml
	@echo "Installing this project into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-dev: $(BIN)/python pyproject.toml
	@echo "Installing this project and what its tests need into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/installed

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON). Install Python 3.11 or newer, or name it: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "This project needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1)."; \
	  echo "Name another one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Making a virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
