# People and CI run the same targets. Everything lives in .venv; nothing needs root.
PYTHON ?= python3
VENV := .venv
# Of `make test`, however many cores there are: most tests wait for servers, and those that share one stay together.
WORKERS ?= 3
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Clients of others that tests run: their pins conflict with ours, so they have an environment of their own.
CLIENTS := $(VENV)/clients

# The tools of a release, likewise.
TOOLS := $(VENV)/release

.PHONY: install clients demo test real soak check bench serve lock dist sbom audit clean

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("gridline needs Python 3.11 or newer: set PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing into $(VENV): a few minutes at the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clients: $(CLIENTS)/.installed

$(CLIENTS)/.installed: tests/clients/requirements.txt | $(INSTALLED)
	@$(BIN)/python -m venv --clear $(CLIENTS)
	@echo "installing the clients of the tests into $(CLIENTS): half a minute"
	@$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	@touch $@

demo: install
	@$(BIN)/python -m examples.demo

test: install clients
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope -m "not soak and not real"

real: install
	$(BIN)/python -m pytest -m real --timeout 600

soak: install
	$(BIN)/python -m pytest -m soak --timeout 5400 || test $$? -eq 5  # 5: there is none yet

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/vulture

bench: install
	$(BIN)/python -m benchmarks

serve: install
	$(BIN)/gridline serve $(or $(COLLECTION),plants)

# The lock holds the exact pins of the whole tree, but neither torch's CUDA packages nor its build tag:
# the same file gives the CPU build where that is what the index offers, and the CUDA build on a GPU machine.
lock: install
	$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip | grep -vE '^(nvidia-|cuda-|triton)' | sed 's/+cpu$$//; s/+cu[0-9]*$$//' > requirements.lock

$(TOOLS)/.installed: .ci/release-tools.txt | $(INSTALLED)
	@$(BIN)/python -m venv --clear $(TOOLS)
	@echo "installing the tools of a release into $(TOOLS): half a minute"
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	@touch $@

# The wheel and the sdist of this commit, in dist/.
dist: $(TOOLS)/.installed
	@rm -rf dist build
	@$(TOOLS)/bin/python -m build --no-isolation --outdir dist

# What is installed, with licences and who needs what, in the format of CycloneDX.
sbom: $(TOOLS)/.installed
	@mkdir -p dist
	@$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --of JSON -o dist/gridline.cdx.json $(BIN)/python

audit: $(TOOLS)/.installed
	@$(BIN)/python .ci/audit.py $(TOOLS)/bin

clean:
	rm -rf $(VENV) build dist *.egg-info gridline-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
