# Everything happens in .venv, by relative paths, so that a checkout may lie under a path with spaces.
# PYTHON=... chooses the interpreter, ARGS=... is handed to the command of demo, test and bench.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
ARGS ?=
STUDY ?= toy
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
# What robosuite needs here. It also asks for pynput, a keyboard for teleoperation, which has to be compiled.
ROBOSUITE_NEEDS := numba opencv-python scipy termcolor

# A demonstration and a test run on one machine need no usage report to Ray's makers.
export RAY_USAGE_STATS_ENABLED ?= 0

.DEFAULT_GOAL := help
.PHONY: help install demo test lint bench reproduce docs clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## create .venv with the pinned dependencies and this package, editable

# torch first, alone and at its exact pin: asked for by a range, pip takes the newest CUDA build of several GB.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "The pinned dependencies need Python 3.11 to 3.13: install it, or name it with make PYTHON=..." >&2; exit 2; }
	@$(PIP) --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) install -q --upgrade -c constraints.txt pip setuptools
	$(PIP) install -q -c constraints.txt torch
	PYTHONWARNINGS=ignore $(PIP) install -q -c constraints.txt -e '.[envpool,kitchen,metaworld,minari,lerobot,reproductions,docs,dev]' $(ROBOSUITE_NEEDS)
	$(PIP) install -q -c constraints.txt --no-deps robosuite
	@touch $(STAMP)

demo: install ## pretrain, fine-tune and evaluate on Hopper with the shipped dataset
	$(BIN)/rllib demo $(ARGS)

# One thread per process: the tests' networks are small, and Ray's worker processes already fill the cores. Two files at
# a time, since half of the time goes into waiting for processes to start; the slow tests want the machine to themselves.
test: export OMP_NUM_THREADS ?= 1
test: install ## run the tests (ARGS="-m slow -n 0" for the slow ones)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: install ## ruff, mypy --strict and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy

bench: install ## measure the speed of pretraining, rollouts and updates
	$(BIN)/python benchmarks/throughput.py $(ARGS)

reproduce: install ## a study from data to tables (STUDY=toy; hopper, ... take hours: see reproductions/README.md)
	$(BIN)/python -m reproductions run $(STUDY) $(ARGS)
	$(BIN)/python -m reproductions analyse $(STUDY)

# Strict: a broken link or an anchor that is not there is an error.
docs: install ## build the documentation site into site/, and fail on a broken link
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

clean: ## remove .venv, caches and build files; results of runs stay
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
