"""Imports point down."""

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
