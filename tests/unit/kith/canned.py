"""Canned answers for the client's tests."""

import json
from collections.abc import Callable
from typing import Any

import httpx

ACCOUNT = {
    "account_id": "11111111-1111-4111-8111-111111111111",
    "phone_number": "+4915112345678",
    "device_id": "22222222-2222-4222-8222-222222222222",
    "discoverable": True,
    "registration_lock": False,
    "created_at": "2026-11-22T10:20:30.123456Z",
}
VERIFICATION = {
    "id": "v" * 43,
    "phone_number": "+4915112345678",
    "status": "pending",
    "channel": "sms",
    "code_length": 6,
    "expires_at": "2026-11-22T10:30:30.123456Z",
    "checks_left": 5,
    "next_sms_in": 60,
    "next_voice_in": None,
}
TOKEN = "kith_" + "t" * 91
REGISTRATION = {
    "account_id": ACCOUNT["account_id"],
    "phone_number": ACCOUNT["phone_number"],
    "device_id": ACCOUNT["device_id"],
    "device_token": TOKEN,
    "reregistered": False,
}
DEVICE = {
    "id": ACCOUNT["device_id"],
    "name": "Laptop",
    "platform": "linux",
    "created_at": "2026-11-22T10:20:30Z",
    "last_seen_at": None,
    "current": True,
}
PARAMETERS = {
    "epoch": "e1",
    "algorithm": "sha256",
    "salt": "salt",
    "max_hashes": 2,
    "expires_at": None,
}

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


def ok(document: Any = None, status: int = 200) -> httpx.Response:
    """Return a success, 204 without a document."""
    return httpx.Response(204) if document is None else httpx.Response(status, json=document)


def problem(
    code: str, status: int, headers: dict[str, str] | None = None, **members: Any
) -> httpx.Response:
    """Return a problem document of the API."""
    document = {
        "type": f"/problems/{code}",
        "title": f"Title of {code}",
        "status": status,
        "detail": f"Detail of {code}.",
        "instance": "request-1",
        **members,
    }
    return httpx.Response(
        status,
        content=json.dumps(document),
        headers={"Content-Type": "application/problem+json", **(headers or {})},
    )


class Script(httpx.MockTransport):
    """Answer requests from a script, in order for each "METHOD /path", repeating the last answer."""

    def __init__(self) -> None:
        """Start without answers."""
        self.requests: list[httpx.Request] = []
        self.slept: list[float] = []
        self._answers: dict[str, list[Answer]] = {}
        super().__init__(self._handle)

    def on(self, line: str, *answers: Answer) -> "Script":
        """Answer `line`, such as "GET /v1/account", with each of `answers` in turn."""
        self._answers[line] = list(answers)
        return self

    def sent(self, line: str) -> list[httpx.Request]:
        """Return the requests that came for `line`."""
        return [request for request in self.requests if _line(request) == line]

    def bodies(self, line: str) -> list[Any]:
        """Return the JSON bodies that came for `line`."""
        return [json.loads(request.content) for request in self.sent(line)]

    def sleep(self, seconds: float) -> None:
        """Record a wait instead of waiting."""
        self.slept.append(seconds)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        waiting = self._answers[_line(request)]
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return answer(request)
        return httpx.Response(
            answer.status_code, content=answer.content, headers=_headers(answer), request=request
        )


def _line(request: httpx.Request) -> str:
    return f"{request.method} {request.url.path}"


def _headers(response: httpx.Response) -> list[tuple[str, str]]:
    return [pair for pair in response.headers.multi_items() if pair[0] != "content-length"]
