# What one does here. Needs make and Python >= 3.11 with venv; everything else comes with `make setup`, by itself.

PYTHON ?= python3
RUN := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench clean

help:  ## this list
	@awk -F ':.*## *' '/^[a-z]+:.*##/ {printf "make %-7s %s\n", $$1, $$2}' Makefile

setup: .venv/requirements.lock  ## the virtual environment in .venv, when it is missing or requirements.lock has changed

demo: setup  ## a month from meter to invoice, then the start page; TRACE=file takes a real month, ARGS= passes options on
	@$(RUN) manage.py demo $(if $(TRACE),--trace "$(TRACE)") $(ARGS)

test: setup  ## all tests; ARGS= passes options on to pytest
	@$(RUN) -m pytest --numprocesses auto --dist worksteal $(ARGS)

lint: export DATA_DIR = .data/tests
lint: setup  ## style, types, and migrations that nobody has written yet
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check
	@$(RUN) -m mypy
	@DJANGO_SETTINGS_MODULE=tests.settings $(RUN) manage.py makemigrations --check --dry-run

bench: setup  ## the README's figures as one JSON object; ONLY=name runs one part
	@$(RUN) -m benchmarks $(ONLY)

clean:  ## removes .venv and caches; .data, where the database is, stays
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The copy of the lock is written last: an interrupted installation is done again.
.venv/requirements.lock: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, and $(PYTHON) is " + sys.version.split()[0] + ": name another, as in make setup PYTHON=python3.12.")'
	@echo "Installing what requirements.lock names into .venv; this takes a minute." >&2
	@$(RUN) -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-input --root-user-action=ignore -r requirements.lock
	@cp requirements.lock $@
