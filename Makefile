# make demo: the main job on simulated streets, with a report. make test: the tests.
# make gpu-check: everything that wants an NVIDIA GPU, at most 10 minutes, into gpu-check.md.
# Each sets up .venv first (Python 3.10 to 3.13, python3-venv, make and g++ are needed).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(shell find annotator3d/kernels/csrc -type f)

.PHONY: demo test gpu-check install lint format clean

demo: $(VENV)/.installed
	$(BIN)/annotator3d demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

gpu-check: $(VENV)/.installed
	$(BIN)/annotator3d doctor --gpu --table gpu-check.md

install: $(VENV)/.installed

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The tested versions; editable, so that changes of the Python code need no reinstall.
$(VENV)/.installed: $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	touch $@

# Not work_dirs: it may hold labels.
clean:
	rm -rf $(VENV) build dist
