"""Imports point down."""

import os
import subprocess
import sys
from pathlib import Path

from tests.databases import ROOT


def test_imports_point_down() -> None:
    """Every contract of pyproject.toml holds: no part imports one above or beside it."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_the_server_loads_no_http_library_before_gevent(tmp_path: Path) -> None:
    """What is loaded before TLS is patched blocks the whole worker; gevent warns of it."""
    load = (
        "import runpy, warnings; import gunicorn.app.wsgiapp; runpy.run_path('gunicorn.conf.py');"
        "warnings.simplefilter('error'); from gevent import monkey; monkey.patch_all()"
    )
    done = subprocess.run(
        [sys.executable, "-c", load],
        cwd=ROOT,
        env=os.environ | {"KITH_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
