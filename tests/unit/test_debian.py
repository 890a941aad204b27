"""Engines from Debian packages: unpacked once, and found wherever they are."""

import subprocess

import pytest

from tests.debian import unpack


@pytest.mark.slow
def test_an_engine_runs_from_where_it_was_unpacked() -> None:
    """With its libraries; asked again, the same directory is given."""
    engine = unpack("pgbouncer")
    said = subprocess.run(
        [engine.program("pgbouncer"), "--version"],
        env=engine.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.startswith("PgBouncer 1.")
    unpack.cache_clear()
    assert unpack("pgbouncer") == engine
