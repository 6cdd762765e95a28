# make demo   installs what is missing and runs the demonstration study on the real pw.x
# make test   installs the same with the development tools, then checks and tests everything
.POSIX:
SHELL = /bin/sh
BIN = .venv/bin

.PHONY: help demo test install install-dev lint format docs unit espresso nightly clean
help:
	@echo "make demo       install, then run the demonstration study in runs/demo"
	@echo "make test       install, then lint, types, imports, documentation and all tests"
	@echo "make install    install only (make install-dev: with the development tools)"
	@echo "make lint       ruff, mypy and import-linter; make format puts files in shape"
	@echo "make docs       the documentation, in build/site; a warning is an error"
	@echo "make unit       the tests without a DFT code; make espresso: those on the real pw.x"
	@echo "make nightly    the longer tests"
	@echo "make clean      remove caches (not .venv, not runs)"

# The study prints the comparison with STS and the path of its report at its end, and continues where it was stopped.
demo: install
	@$(BIN)/corecrown study run inputs/studies/demo.yaml -d runs/demo

test: install-dev lint docs
	$(BIN)/python -m pytest
	$(BIN)/python -m pytest -q --doctest-modules src/corecrown

install:
	@scripts/install.sh base

install-dev:
	@scripts/install.sh dev

lint: install-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: install-dev
	$(BIN)/python docs/build_site.py

unit: install-dev
	$(BIN)/python -m pytest -m "not espresso and not slurm and not nightly"

espresso: install-dev
	$(BIN)/python -m pytest -m "espresso and not nightly"

nightly: install-dev
	$(BIN)/python -m pytest -m nightly

clean:
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis .coverage
	find src structures workflows postprocess tests -name __pycache__ -prune -exec rm -rf {} +
