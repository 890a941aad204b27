"""A service that uses the CAMARA adapter in tests."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask_openapi3 import OpenAPI
from werkzeug.test import TestResponse

from tests.conftest import NUMBER
from tokens.service_tokens import SEND_AND_VALIDATE

MESSAGE = "{{code}} is your short code to authenticate with Cool App via SMS"
PREFIX = "/one-time-password-sms/v1"
CORRELATOR = "b4333c46-49c0-4f62-80d7-f0ef930f1c46"
OWN = "ONE_TIME_PASSWORD_SMS."


@dataclass
class Service:
    """A service with a token; each of its requests brings a correlation id."""

    app: OpenAPI
    name: str = "shop"
    life: timedelta = timedelta(days=90)
    token: str = field(init=False)

    def __post_init__(self) -> None:
        """Have the operator issue its token."""
        self.renew()

    def renew(self) -> None:
        """Have the operator issue it another."""
        tokens = self.app.extensions["kith"].tokens.service_tokens
        self.token, _ = tokens.issue(self.name, [SEND_AND_VALIDATE], self.life)

    def post(
        self, operation: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> TestResponse:
        """Call an operation; `headers` replace those of an ordinary request."""
        usual = {"Authorization": f"Bearer {self.token}", "x-correlator": CORRELATOR}
        content = {} if body is None else {"json": body}
        return self.app.test_client().post(
            f"{PREFIX}/{operation}", headers=usual if headers is None else headers, **content
        )

    def send(self, number: str = NUMBER, message: str = MESSAGE) -> TestResponse:
        """Ask for a code."""
        return self.post("send-code", {"phoneNumber": number, "message": message})

    def sent(self, number: str = NUMBER, message: str = MESSAGE) -> str:
        """Have a code sent; give its authentication id."""
        answer = self.send(number, message)
        assert answer.status_code == 200, answer.text
        return str(answer.json["authenticationId"])  # type: ignore[index]

    def validate(self, identity: str, code: str) -> TestResponse:
        """Check a code."""
        return self.post("validate-code", {"authenticationId": identity, "code": code})

    def text(self, number: str = NUMBER) -> str:
        """Read the newest text of a number."""
        (message,) = self.app.extensions["kith"].sms.providers["outbox"].read(number, limit=1)
        return str(message.body)

    def code(self, number: str = NUMBER) -> str:
        """Read the newest code of a number."""
        found = re.search(r"\d{6,8}", self.text(number))
        assert found
        return found.group()


def other_than(code: str) -> str:
    """Return a wrong code."""
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


def error(answer: TestResponse) -> tuple[int, str]:
    """Return status and code of an error, which has CAMARA's shape and the request's correlation id."""
    body = answer.json
    assert answer.content_type == "application/json", answer.text
    assert body is not None and set(body) == {"status", "code", "message"}
    assert body["status"] == answer.status_code
    assert " " in body["message"]
    given = answer.request.headers.get("x-correlator")
    assert answer.headers["x-correlator"] == (given or answer.headers["X-Request-Id"])
    return answer.status_code, body["code"]
