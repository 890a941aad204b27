"""`kith inbox` lives through an outage of the server."""

import httpx
import pytest

from kith.commands import messages
from tests.unit.kith.canned import Script, ok, problem
from tests.unit.kith.conftest import Run

EMPTY = ok({"messages": [], "more": False})


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize("away", [httpx.ConnectError("down"), problem("overloaded", 503)])
@pytest.mark.slow
def test_waiting_goes_on_while_the_server_restarts(
    away: Exception | httpx.Response, run: Run, script: Script
) -> None:
    """The client's own tries are over, and it still waits; a server that is back is heard."""
    script.on("GET /v1/messages", *[away] * 4, EMPTY)

    waited = run("inbox", "--wait", "1")

    assert waited.exit_code == 0
    assert "No new messages." in waited.stderr
    assert max(script.slept) <= messages.RETRY_SECONDS


@pytest.mark.usefixtures("signed_in")
@pytest.mark.slow
def test_waiting_ends_without_the_server(run: Run, script: Script) -> None:
    """When the time is over the command says that there is no connection."""
    script.on("GET /v1/messages", httpx.ConnectError("down"))

    assert run("inbox").exit_code == 4
    script.requests.clear()
    assert run("inbox", "--wait", "1").exit_code == 4
    assert len(script.sent("GET /v1/messages")) > 3
    script.on("GET /v1/messages", problem("token-invalid", 401))
    assert run("inbox", "--wait", "60").exit_code == 3
