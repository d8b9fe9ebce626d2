# make run: the quickstart suite.  make test: every test.  Each makes the environment first,
# and makes it again when what it installs has changed.

PYTHON ?= python3
READY := .venv/.ready
# what to test and how, such as TESTS='-m "not slow"'
TESTS ?= -n auto
# PLUGINS='plugins[simulate]' installs the generators too
PLUGINS ?= plugins

.PHONY: run test lint bench clean

run: $(READY)
	.venv/bin/hepbench run quickstart

test: $(READY)
	.venv/bin/python -m pytest $(TESTS)

lint: $(READY)
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

bench: $(READY)
	.venv/bin/python benchmarks/costs.py

clean:
	rm -rf .venv

$(READY): pyproject.toml plugins/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "hepbench needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv
	PIP_CONSTRAINT=constraints.txt .venv/bin/python -m pip install --quiet -e '.[test,lint,onnx,plot]' -e '$(PLUGINS)'
	touch $@
