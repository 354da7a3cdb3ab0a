# `make demo` and `make test` do all their own setting up. VENV=folder and PYTHON=program
# take the place of .venv and python3.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/.napari-equipose-ready

# A program that opens windows runs on a virtual screen where there is no other.
SCREEN := $(if $(DISPLAY),,xvfb-run --auto-servernum --server-args="-screen 0 1600x1200x24")

.PHONY: demo test lint dist
demo: $(READY)
	$(BIN)/equipose demo -o demo-output --overwrite

test: lint
	tools/system-packages gui
	$(SCREEN) $(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/npe2 validate --imports napari.yaml

# What would be uploaded, in dist/, checked as the index does it.
dist: $(READY)
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

# torch first and alone: a CPU build that is at hand then serves, and nothing fetches another.
$(READY): pyproject.toml constraints.txt
	PYTHON="$(PYTHON)" tools/system-packages python
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade -c constraints.txt pip
	$(PIP) install -c constraints.txt torch==2.13.0
	$(PIP) install -c constraints.txt --group dev --editable ".[pyqt6]"
	touch $@
