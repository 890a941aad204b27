# Everything here works from a fresh clone: it makes .venv and installs the pinned requirements first.
# Start with: make run · make demo · make quick · make check. `make help` lists all.
# PYTHON=python3.12 picks the interpreter; ARGS="-k budget" goes to pytest.

VENV := .venv
BIN := $(VENV)/bin
SOURCES := app.py settings.py wsgi.py gunicorn.conf.py core sms tokens verification discovery messaging interop kith migrations tests bench
# Put test databases in /dev/shm if it has 4 GB free: faster.
ROOM := $(shell df -Pm /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 4096 { print "TMPDIR=/dev/shm" }')
# Tests that share servers or a folder are a group, and stay with one process.
PYTEST := $(ROOM) $(BIN)/pytest -n auto --dist loadgroup
export PYTHON
PATHS ?= tests/unit tests/api
# make lock LOCK= adds what is missing and keeps the versions that are pinned.
LOCK ?= --upgrade

.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(VENV)/installed: requirements.txt pyproject.toml deploy/install.sh
	@sh deploy/install.sh
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	@sh deploy/install.sh --dev
	@touch $@

install: $(VENV)/installed  ## install the runtime dependencies into .venv

run: $(VENV)/installed migrate  ## serve on 127.0.0.1:8000 with SQLite and the mock provider (KITH_PORT, KITH_DATA_DIR override)
	@exec $(BIN)/gunicorn -c gunicorn.conf.py wsgi:app

migrate: $(VENV)/installed  ## bring the database up to date
	@$(BIN)/alembic upgrade head

demo: $(VENV)/installed  ## run the end-to-end demo on a server of its own
	@$(BIN)/python -m bench.demo

test: $(VENV)/installed-dev  ## run all tests, on SQLite and PostgreSQL; ARGS="-k budget" selects
	@$(PYTEST) $(ARGS)

quick: $(VENV)/installed-dev  ## run the unit and API tests on SQLite, without those marked slow; PATHS=tests/unit/test_codes.py selects
	@$(PYTEST) -m "not slow and not postgresql" $(PATHS) $(ARGS)

check: $(VENV)/installed-dev  ## what CI runs: format, lint, types, imports, all tests with coverage
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) --cov --cov-report=term

format: $(VENV)/installed-dev  ## format, and fix what can be fixed
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

catalogues: $(VENV)/installed  ## update the message catalogues from their template
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
