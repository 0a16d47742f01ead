# Every command makes and uses .venv in the project root. PYTHON=/path/to/python3.12 chooses another interpreter.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell scripts/find-python)

.PHONY: demo test test-unit test-e2e test-smoke test-deploy lint fmt bench bench-gpu docs clean

demo: $(VENV)/.core
	scripts/demo

test: test-unit test-e2e

# The unit tests share the cores; the end-to-end tests start real engines and need them all, and their imports take
# as long as those of all others. Tests start Python some 200 times: compiled modules are kept whatever the shell says.
test-unit: export PYTHONDONTWRITEBYTECODE =
test-unit: $(VENV)/.dev
	$(BIN)/pytest -n auto --ignore tests/e2e -m "not e2e and not gpu and not deploy"

test-e2e: $(VENV)/.dev
	$(BIN)/pytest -m e2e

# The parts a change is most likely to break, on the real tritonserver and a real vLLM, in a few minutes.
SMOKE := tests/e2e/test_lifecycle.py tests/e2e/test_readme.py
test-smoke: $(VENV)/.dev
	$(BIN)/pytest -m e2e $(SMOKE)

test-deploy: $(VENV)/.deploy
	$(BIN)/pytest -m deploy

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.core
	$(BIN)/python scripts/bench_doors.py

# PIECES chooses what is measured; scripts/gpu/bench.sh says more.
PIECES ?= 7b 0.3b
bench-gpu: $(VENV)/.dev
	LIMIT_S=$${LIMIT_S:-3600} scripts/gpu/bench.sh bench-results/gpu $(PIECES)

$(VENV)/bin/python:
	scripts/make-venv "$(PYTHON)" $(VENV)

$(VENV)/.core: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.core

$(VENV)/.deploy: pyproject.toml scripts/checkov.txt | $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --editable '.[dev,deploy]'
	scripts/make-venv $(BIN)/python $(VENV)/checkov
	$(VENV)/checkov/bin/python -m pip install --quiet --requirement scripts/checkov.txt
	touch $@ $(VENV)/.dev

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
