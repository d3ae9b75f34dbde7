# `make env` once, then whatever you like; every target sees to it that the environment is there.
# Set PYTHON to choose an interpreter; by default the first one of these that is 3.12 or newer.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then command -v $$python; break; fi; done)
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: env demo test slow bench models notebooks notebooks-fast docs lint format clean

env: $(STAMP)

$(STAMP): pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "bayesglm needs Python 3.12 or newer, and there is none on the PATH: install one (pyenv install 3.12) or say make PYTHON=/path/to/python3.12." >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV)
	@echo "Installing bayesglm and what its tests need into $(VENV) (a few minutes) ..."
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $(STAMP)

demo: $(STAMP)
	$(RUN) -m bayesglm demo

# Compiled programs are kept between runs and shared by the two workers; idle threads of linear algebra would spin in their way.
test slow notebooks-fast: export OPENBLAS_NUM_THREADS := 1
test slow: export JAX_COMPILATION_CACHE_DIR := $(CURDIR)/.jax_cache
test slow: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS := 0.5
test: $(STAMP)
	$(RUN) -m pytest -q -n 2

slow: $(STAMP)
	$(RUN) -m pytest -q -n 2 -m slow

# Hours, on a quiet machine: every row against every peer. One row: make bench ROWS=map_one
bench: $(STAMP)
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(RUN) benchmarks/run.py $(ROWS)

# Every model of the reading room: simulate, fit, draw.
models: $(STAMP)
	mkdir -p models_output
	cd models_output && for model in ../models/[a-z]*.py; do echo "$$model"; ../$(RUN) "$$model" || exit 1; done

# The notebooks, again, outputs kept; a quarter of an hour. One: make notebooks NAMES=08_workflow
notebooks: $(STAMP)
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[notebooks]'
	$(RUN) notebooks/run.py $(NAMES)

# Do their claims hold at small sizes? Outputs are thrown away; two at a time.
notebooks-fast: export JAX_COMPILATION_CACHE_DIR := $(CURDIR)/.jax_cache
notebooks-fast: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS := 0.5
notebooks-fast: $(STAMP)
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[notebooks]'
	echo $(or $(NAMES),$(basename $(notdir $(wildcard notebooks/*.ipynb)))) | xargs -P 2 -n 1 $(RUN) notebooks/run.py --fast

docs: $(STAMP)
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

lint: $(STAMP)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m pyright --pythonpath $(RUN)

format: $(STAMP)
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

clean:
	rm -rf $(VENV) .jax_cache .pytest_cache .ruff_cache build dist *.egg-info demo_output models_output docs/_build docs/generated
