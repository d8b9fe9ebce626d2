# make run: the quickstart suite.  make test: the tests.  make slow: the tests that take long.
# make bench: what became slower.
# Each makes the environment first, and makes it again when what it installs has changed.

PYTHON ?= python3
READY := .venv/.ready
# what to test and how, such as TESTS=tests/test_cli.py
TESTS ?= -n auto -m "not slow"
INSTALL := PIP_CONSTRAINT=constraints.txt .venv/bin/python -m pip install --quiet

.PHONY: run test slow lint docs extras bench clean

run: $(READY)
	.venv/bin/hepbench run quickstart

test: $(READY)
	.venv/bin/python -m pytest $(TESTS)

slow: $(READY)
	.venv/bin/python -m pytest -n auto -m slow

lint: $(READY)
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

# outputs on pages are written anew, then pages become docs/_build/html; with OUTPUTS=--check nothing
# is written, and an output that is not what its command prints is an error
docs: $(READY)
	$(INSTALL) -e '.[docs]'
	.venv/bin/python docs/outputs.py $(OUTPUTS)
	.venv/bin/python -m sphinx -q -E -W --keep-going docs docs/_build/html

# what only some tests need: generators, pandas, the blosc filter of HDF5
extras: $(READY)
	$(INSTALL) -e 'plugins[blosc,pandas,simulate]'

# what became slower than the committed baseline, or with BASE=main than that revision
bench: $(READY)
	.venv/bin/python benchmarks/regressions.py $(if $(BASE),--base $(BASE))

clean:
	rm -rf .venv

$(READY): pyproject.toml plugins/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "hepbench needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(INSTALL) -e '.[test,lint,onnx,plot]' -e plugins
	touch $@
