"""A link to PostgreSQL that loses every packet: in a network of the test's own, where that can be had."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.databases import ROOT

#: One process starts the servers for all of them.
pytestmark = [pytest.mark.xdist_group("servers"), pytest.mark.slow]

SCRIPT = """
import json, subprocess, time
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from core.database import Database
from core.database_errors import problem_of
from tests.postgresql import servers

def use(transaction):
    started = time.monotonic()
    try:
        with transaction() as connection:
            connection.execute(text("SELECT 1"))
        code = "ok"
    except DBAPIError as error:
        code = problem_of(error).code
    return code, time.monotonic() - started

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
with servers(migrated=False) as make:
    database = Database(make().url())
    seen = [use(database.read), use(database.write)]
    lose = "tc qdisc add dev lo root tbf rate 8bit burst 1 limit 1"
    subprocess.run(lose.split(), check=True)
    seen += [use(database.read), use(database.write)]
    subprocess.run("tc qdisc del dev lo root".split(), check=True)
    seen += [use(database.write)]
    database.close()
print(json.dumps(seen))
"""


def test_it_is_given_up_after_five_seconds() -> None:
    """Which the kernel alone would do after 15 minutes; the first transaction after that succeeds at once."""
    apart = ["unshare", "--net"]
    if not shutil.which("tc") or subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("a network of one's own needs root and tc")
    done = subprocess.run(
        [*apart, sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    *before, read, write, after = json.loads(done.stdout)
    lost = [read, write]
    assert [code for code, _ in before] == ["ok"] * 2
    assert [code for code, _ in lost] == ["service-unavailable"] * 2
    # Well under the driver's own 17 seconds, on a machine with much else to do.
    assert all(seconds < 12 for _, seconds in lost)
    assert after[0] == "ok"
