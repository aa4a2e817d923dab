# Every target is complete by itself after `git clone`, with Python 3.11 or newer, make and a C compiler.

PYTHON ?= python3
VENV := .venv/bin/python
BENCHES := $(wildcard tests/bench/*.py)

.PHONY: env sweep test lint bench clean

env:  ## the environment in .venv, and the default model in the user's cache
	@$(PYTHON) requirements/build_env.py
	@$(VENV) -m probes.checkpoint

sweep: env  ## how fast the engine is here; ARGS="--help" for the settings
	@$(VENV) -m offline.sweep $(ARGS)

test: env  ## all tests; ARGS="-k machine" for some
	@$(VENV) -m pytest $(ARGS)

lint: env
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

bench: env  ## what the toolkit itself costs
	@set -e; for script in $(BENCHES); do echo "== $$script"; $(VENV) $$script; done

clean:  ## everything but results/ and the user's cache
	rm -rf .venv .env-lock build *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find $(wildcard probes tracing offline notes tests requirements) -name __pycache__ -prune -exec rm -rf {} +
