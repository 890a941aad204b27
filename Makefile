# Everything here works from a fresh clone: it makes .venv and installs the pinned requirements first.
# The usual way in: make run · make demo · make quick · make check. `make help` lists all.
# PYTHON=python3.12 picks the interpreter; ARGS="-k budget" goes to pytest.

VENV := .venv
BIN := $(VENV)/bin
SOURCES := app.py settings.py wsgi.py gunicorn.conf.py core sms tokens verification discovery messaging interop kith migrations tests bench
# Databases of tests lie in memory where there is room: they wait for no disk.
ROOM := $(shell df -Pm /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 4096 { print "TMPDIR=/dev/shm" }')
# Tests that share servers or a folder are a group, and stay with one process.
PYTEST := $(ROOM) $(BIN)/pytest -n auto --dist loadgroup
export PYTHON
# make lock LOCK= adds what is missing and keeps the versions that are pinned.
LOCK ?= --upgrade

.DEFAULT_GOAL := help

help:  ## list what there is to do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(VENV)/installed: requirements.txt pyproject.toml deploy/install.sh
	@sh deploy/install.sh
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	@sh deploy/install.sh --dev
	@touch $@

install: $(VENV)/installed  ## set up .venv with what running needs

run: $(VENV)/installed migrate  ## serve on 127.0.0.1:8000 with SQLite and the mock provider (KITH_PORT, KITH_DATA_DIR override)
	@exec $(BIN)/gunicorn -c gunicorn.conf.py wsgi:app

migrate: $(VENV)/installed  ## bring the database up to date
	@$(BIN)/alembic upgrade head

demo: $(VENV)/installed  ## play the whole journey against a fresh server
	@$(BIN)/python -m bench.demo

test: $(VENV)/installed-dev  ## run every test, on SQLite and PostgreSQL; ARGS="-k budget" runs a part
	@$(PYTEST) $(ARGS)

quick: $(VENV)/installed-dev  ## run the unit and API tests on SQLite, without those marked slow
	@$(PYTEST) -m "not slow and not postgresql" tests/unit tests/api $(ARGS)

check: $(VENV)/installed-dev  ## what CI runs: format, lint, types, imports, migrations, tests with coverage
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) --cov --cov-report=term

format: $(VENV)/installed-dev  ## format and mend what can be mended
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

catalogues: $(VENV)/installed  ## bring the message catalogues up to date with their template
	@for file in verification/locales/*.po; do $(BIN)/pybabel --quiet update --input-file verification/locales/texts.pot \
	  --output-file $$file --locale $$(basename $$file .po) --no-fuzzy-matching --ignore-obsolete \
	  --ignore-pot-creation-date --width 100; done

bench: $(VENV)/installed-dev  ## measure this machine: journeys, authenticated requests, lookups
	@$(BIN)/python -m bench

lock: $(VENV)/installed  ## pin the newest versions of requirements*.in, with their hashes, for every Python and system
	@$(BIN)/pip install --quiet --disable-pip-version-check uv
	@for file in requirements requirements-dev; do $(BIN)/uv pip compile --quiet $(LOCK) --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-strip-extras -o $$file.txt $$file.in; done

clean:  ## remove .venv, caches and the development database
	rm -rf $(VENV) data build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*

.PHONY: help install run migrate demo test quick check format catalogues bench lock clean
