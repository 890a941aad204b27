# Everything here works from a fresh clone: it makes .venv and installs the pinned requirements first.
# The usual way in: make run · make demo · make test · make check. `make help` lists all.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SOURCES := app.py settings.py wsgi.py gunicorn.conf.py core sms tokens verification discovery messaging interop kith migrations tests bench

.DEFAULT_GOAL := help

help:  ## list what there is to do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(VENV)/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Kith needs Python 3.11 or newer")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned requirements into $(VENV) (once; takes a minute)…"
	@$(BIN)/pip install -qq --disable-pip-version-check -r requirements.txt
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	@$(BIN)/pip install -qq --disable-pip-version-check -r requirements-dev.txt
	@touch $@

install: $(VENV)/installed  ## set up .venv with what running needs

run: $(VENV)/installed migrate  ## serve on 127.0.0.1:8000 with SQLite and the mock provider (KITH_PORT, KITH_DATA_DIR override)
	@exec $(BIN)/gunicorn -c gunicorn.conf.py wsgi:app

migrate: $(VENV)/installed  ## bring the database up to date
	@$(BIN)/alembic upgrade head

demo: $(VENV)/installed  ## play the whole journey against a fresh server
	@$(BIN)/python -m bench.demo

test: $(VENV)/installed-dev  ## run every test, on SQLite and PostgreSQL
	@$(BIN)/pytest -n 2 --dist loadgroup

check: $(VENV)/installed-dev  ## what CI runs: format, lint, types, imports, migrations, tests with coverage
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist loadgroup --cov --cov-report=term

format: $(VENV)/installed-dev  ## format and mend what can be mended
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

catalogues: $(VENV)/installed  ## bring the message catalogues up to date with their template
	@for file in verification/locales/*.po; do $(BIN)/pybabel --quiet update --input-file verification/locales/texts.pot \
	  --output-file $$file --locale $$(basename $$file .po) --no-fuzzy-matching --ignore-obsolete \
	  --ignore-pot-creation-date --width 100; done

bench: $(VENV)/installed-dev  ## measure this machine: journeys, authenticated requests, lookups
	@$(BIN)/python -m bench

lock: $(VENV)/installed-dev  ## pin the newest versions of requirements*.in
	@$(BIN)/pip install --quiet pip-tools
	@for file in requirements requirements-dev; do $(BIN)/pip-compile --quiet --upgrade --allow-unsafe --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --strip-extras --annotation-style=line \
	  -o $$file.txt $$file.in; done

clean:  ## remove .venv, caches and the development database
	rm -rf $(VENV) data build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*

.PHONY: help install run migrate demo test check format catalogues bench lock clean
