"""The demo that the README promises."""

import os
import subprocess
import sys

from tests.databases import ROOT


def test_the_demo_plays_to_its_end() -> None:
    """`make demo` plays the whole journey against a fresh server and ends well."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.demo"],
        cwd=ROOT,
        env=os.environ | {"KITH_DATABASE_URL": "sqlite:////nowhere/at/all"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 numbers, 1 unreadable, 1 here" in done.stdout
    assert "The journey is complete." in done.stdout
