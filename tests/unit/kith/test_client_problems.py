"""Each problem code arrives as its own exception, with its data and without secrets."""

import re
from pathlib import Path

import httpx
import pytest

from kith import Kith, KithProblem, KithUnreachable, problems
from kith.problems import (
    BudgetExhausted,
    CodeRejected,
    DevicesMismatched,
    InvalidFields,
    RegistrationLocked,
    TokenInvalid,
)
from tests.unit.kith.canned import Script, ok, problem

NEVER_REPEATED = "POST /v1/verifications/abc/checks"


PAGE = (Path(__file__).parents[3] / "docs" / "problems.md").read_text()
DOCUMENTED = sorted(set(re.findall(r"^\| `([a-z-]+)` \| \d", PAGE, re.MULTILINE)))


@pytest.mark.parametrize("code", DOCUMENTED)
def test_every_code_arrives_as_its_class(code: str, client: Kith, script: Script) -> None:
    """A code with a class arrives as that class, every other one as KithProblem that carries it."""
    script.on(NEVER_REPEATED, problem(code, 422))

    with pytest.raises(KithProblem, match=re.escape(code)) as caught:
        client.check_code("abc", "123456")

    assert type(caught.value) is problems.CLASSES.get(code, KithProblem)
    assert caught.value.code == code
    assert caught.value.request_id == "request-1"


def test_the_classes_are_codes_of_the_wire() -> None:
    """Each class is named as its code and has documentation; no class has a code of its own making."""
    names = {
        code: "".join(word.capitalize() for word in code.split("-")) for code in problems.CLASSES
    }

    assert {code: kind.__name__ for code, kind in problems.CLASSES.items()} == names
    assert set(problems.CLASSES) <= set(DOCUMENTED)
    assert all(kind.__doc__ for kind in problems.CLASSES.values())


def test_unknown_codes_fall_back(client: Kith, script: Script) -> None:
    """A code of a newer server is a plain KithProblem that carries it."""
    script.on(NEVER_REPEATED, problem("moon-in-the-way", 418))

    with pytest.raises(KithProblem) as caught:
        client.check_code("abc", "123456")

    assert type(caught.value) is KithProblem
    assert (caught.value.code, caught.value.status) == ("moon-in-the-way", 418)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, text="<html>bad gateway</html>"),
        httpx.Response(502, json=["not", "an", "object"]),
        httpx.Response(502, json={"type": "about:blank", "title": 7, "errors": "no"}),
        httpx.Response(502, content=b"[" * 100_000),
    ],
)
def test_answers_of_proxies_become_problems(
    answer: httpx.Response, client: Kith, script: Script
) -> None:
    """An error that is no problem document is named by its status."""
    script.on(NEVER_REPEATED, answer)

    with pytest.raises(KithProblem, match="Bad Gateway") as caught:
        client.check_code("abc", "123456")

    assert caught.value.code == "http-502"
    assert caught.value.retry_after is None


def test_redirects_are_not_followed(client: Kith, script: Script) -> None:
    """A token does not travel to an address that the answer names."""
    script.on("GET /v1/account", httpx.Response(307, headers={"Location": "http://evil.test/"}))

    with pytest.raises(KithProblem) as caught:
        client.account()

    assert caught.value.code == "http-307"
    assert len(script.requests) == 1


def test_problem_members_are_kept(client: Kith, script: Script) -> None:
    """Waits, guesses left, faulty fields and device ids are attributes."""
    script.on(
        NEVER_REPEATED,
        problem("code-rejected", 422, checks_left=3),
        problem("registration-locked", 423, {"Retry-After": "3600"}),
        problem("invalid-fields", 422, errors=[{"pointer": "/code", "detail": "too short"}, "odd"]),
        problem("devices-mismatched", 409, missing=["d1"], extra=["d2"], stale=[]),
        problem("budget-exhausted", 429, left=3, capacity=50, needed=7, retry_after=60),
    )
    caught = []
    kinds = (CodeRejected, RegistrationLocked, InvalidFields, DevicesMismatched, BudgetExhausted)
    for expected in kinds:
        with pytest.raises(expected) as one:
            client.check_code("abc", "123456")
        caught.append(one.value)

    assert caught[0].checks_left == 3
    assert caught[1].retry_after == 3600
    assert [(fault.pointer, fault.detail) for fault in caught[2].errors] == [("/code", "too short")]
    assert (caught[3].missing, caught[3].extra, caught[3].stale) == (("d1",), ("d2",), ())
    assert (caught[4].left, caught[4].capacity, caught[4].needed) == (3, 50, 7)


@pytest.mark.parametrize(
    ("headers", "members", "seconds"),
    [
        ({"Retry-After": "7"}, {}, 7),
        ({"Retry-After": "Sun, 22 Nov 2026 10:00:30 GMT"}, {}, 30),
        ({"Retry-After": "Sun, 22 Nov 2026 10:00:30 -0000"}, {}, 30),
        ({"Retry-After": "Sun, 22 Nov 2026 09:00:00 GMT"}, {}, 0),
        ({"Retry-After": "soon"}, {"retry_after": 9}, 9),
        ({"Retry-After": "9" * 400}, {}, None),
        ({}, {"retry_after": -1}, None),
        ({}, {"retry_after": True}, None),
        ({}, {}, None),
    ],
)
def test_retry_after_is_read_from_header_or_body(
    headers: dict[str, str],
    members: dict[str, object],
    seconds: int | None,
    client: Kith,
    script: Script,
) -> None:
    """Seconds and HTTP-dates count, dates by the server's own clock; nonsense does not."""
    dated = {"Date": "Sun, 22 Nov 2026 10:00:00 GMT", **headers}
    script.on(NEVER_REPEATED, problem("send-too-soon", 429, dated, **members))

    with pytest.raises(KithProblem) as caught:
        client.check_code("abc", "123456")

    assert caught.value.retry_after == seconds


def test_retry_after_date_without_a_server_clock(client: Kith, script: Script) -> None:
    """Without a Date header the local clock measures the wait."""
    past = {"Retry-After": "Sun, 22 Nov 1998 10:00:00 GMT"}
    script.on(NEVER_REPEATED, problem("send-too-soon", 429, past))

    with pytest.raises(KithProblem) as caught:
        client.check_code("abc", "123456")

    assert caught.value.retry_after == 0


@pytest.mark.parametrize(
    "secret", ["kith_" + "s" * 91, "+4915112345678", "+49 151 1234-5678", "4915112345678", "123456"]
)
def test_secrets_of_an_answer_are_not_repeated(secret: str, client: Kith, script: Script) -> None:
    """Whatever a server or proxy writes, no token, number or code enters the exception's text."""
    answer = problem(
        f"odd-{secret}",
        401,
        title=f"about {secret}",
        detail=f"it was {secret}!",
        errors=[{"pointer": "/x", "detail": f"got {secret}"}],
    )
    script.on(NEVER_REPEATED, answer)

    with pytest.raises(KithProblem) as caught:
        client.check_code("abc", "123456")

    shown = f"{caught.value}{caught.value!r}{caught.value.detail}{caught.value.errors}"
    assert secret not in shown
    assert "about" in shown


def test_masked_numbers_stay_readable(client: Kith, script: Script) -> None:
    """What the server has masked already is passed on as it is."""
    script.on(NEVER_REPEATED, problem("send-rejected", 422, detail="+49151•••789 cannot receive."))

    with pytest.raises(KithProblem, match=re.escape("+49151•••789 cannot receive.")) as caught:
        client.check_code("abc", "123456")

    assert caught.value.status == 422


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (httpx.ConnectError("refused"), "No connection to kith.test"),
        (httpx.ConnectTimeout("slow"), "No connection to kith.test"),
        (httpx.ReadTimeout("slow"), "No answer from kith.test in time"),
        (httpx.RemoteProtocolError("half"), "broke before the answer"),
    ],
)
def test_connection_faults_are_unreachable(
    fault: Exception, words: str, client: Kith, script: Script
) -> None:
    """No answer is KithUnreachable and names the server only."""
    script.on(NEVER_REPEATED, fault)

    with pytest.raises(KithUnreachable, match=re.escape(words)) as caught:
        client.check_code("abc", "123456")

    assert "123456" not in repr(caught.value)


def test_problem_of_a_repeated_delete_is_a_problem_at_first(client: Kith, script: Script) -> None:
    """A DELETE that was answered at once may fail with not found or a revoked token."""
    script.on("DELETE /v1/devices/d1", problem("token-invalid", 401))

    with pytest.raises(TokenInvalid):
        client.remove_device("d1")

    assert len(script.requests) == 1


def test_a_new_client_needs_no_server_package() -> None:
    """The client imports nothing of the server."""
    server = re.compile(
        r"^\s*(?:from|import) (?:app|core|sms|tokens|verification|discovery|messaging|interop)\b"
    )
    lines = [
        line
        for path in Path("kith").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]

    assert lines
    assert not [line for line in lines if server.match(line)]


def test_success_after_all_has_no_exception(client: Kith, script: Script) -> None:
    """A plain success raises nothing and is sent once."""
    script.on("DELETE /v1/account", ok())

    client.delete_account()

    assert len(script.requests) == 1
