# Everything but the interpreter is made here: a Python >= 3.11 with venv is all that is needed beforehand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check bench prove soak soak-long lock clean

$(STAMP): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(STAMP)
	$(BIN)/python -m simulators demo $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

# Each prints ratios to a floor measured in the same run; all are run, and the exit code is 1 where one missed its limit.
bench: $(STAMP)
	failed=0; for part in footprint card allocation simulation records; do \
	    echo "== $$part"; $(BIN)/python -m benchmarks.$$part $(ARGS) || failed=1; done; exit $$failed

# 150 seeded hours with every fault, one day with 20 wallboxes and 14 days without the internet; goes on where it was
# broken off.
soak: $(STAMP)
	$(BIN)/python -m tests.site.soak $(ARGS)

soak-long: $(STAMP)
	$(BIN)/python -m tests.site.soak --long $(ARGS)

prove: $(STAMP)
	$(BIN)/python -m benchmarks.prove

# Renew the hashed locks after a change of pyproject.toml: requirements.lock for development and the demonstration,
# deploy/requirements.lock for what runs in a building, with the same versions. No address is written into them.
COMPILE = env -u PIP_FIND_LINKS $(BIN)/pip-compile --quiet --all-build-deps --allow-unsafe --generate-hashes --strip-extras \
    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header

lock:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet pip-tools
	$(COMPILE) --extra dev --extra demo --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --output-file deploy/requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
