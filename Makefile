# make demo: set everything up in .venv and write demo/report.html
# make test: set everything up, check style and types, run the tests
PYTHON ?= python3.11
ifeq ($(shell command -v $(PYTHON) 2>/dev/null),)
PYTHON := python3
endif
BIN := .venv/bin
SEPARATRIX_DATA ?= $(abspath $(firstword $(wildcard data ../shared/data) data))
export SEPARATRIX_DATA
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# worker processes of the tests, and one thread for each
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 SEPARATRIX_TEST_THREADS=1
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -lt 4 ] || n=4; echo $$n)

.PHONY: demo test lint bench pictures clean
.DEFAULT_GOAL := demo

demo: .venv/.installed
	$(BIN)/separatrix report --out demo/report.html

test: lint
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.dev
	$(BIN)/python -m bench.depth
	$(BIN)/python -m bench.ensembles
	$(BIN)/python -m bench.affine
	$(BIN)/python -m bench.regions
	$(BIN)/python -m bench.basins
	$(BIN)/python -m bench.certificates
	$(BIN)/python -m bench.spectra
	$(BIN)/python -m bench.ridges
	$(BIN)/python -m bench.lyapunov
	$(BIN)/python -m bench.monitor
	$(BIN)/python -m bench.training
	$(BIN)/python -m bench.geometry

pictures: .venv/.dev
	$(BIN)/python docs/pictures.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	@touch $@

.venv/.dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch .venv/.installed $@

clean:
	rm -rf .venv demo build dist
