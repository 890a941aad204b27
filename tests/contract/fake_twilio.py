"""A local server that speaks Twilio's API as the SDK sees it, over real HTTP.

Twilio's answers and errors, as https://www.twilio.com/docs/api describes them.
"""

import base64
import json
from typing import Any

from tests.contract.fake_http import Answer, FakeProvider, Received

ACCOUNT_SID = "AC" + "0123456789abcdef" * 2
AUTH_TOKEN = "f00dfeed" * 4


def refusal(
    status: int, code: int, headers: dict[str, str] | None = None, message: str = "refused"
) -> Answer:
    """Build the error document of Twilio's API."""
    document = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return Answer(status, json.dumps(document).encode(), headers or {})


class FakeTwilio(FakeProvider):
    """Twilio's API on a free port of the loopback; use as a context manager."""

    def accept(self, request: Received) -> Answer:
        """Accept what comes with the right login for a resource there is."""
        login = base64.b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {login}":
            return refusal(401, 20003, message="Authenticate")
        resources = {"Messages.json": _message, "Calls.json": _call}
        prefix = f"/2010-04-01/Accounts/{ACCOUNT_SID}/"
        build = resources.get(request.path.removeprefix(prefix))
        if build is None:
            return refusal(404, 20404, message=f"{request.path} was not found")
        return Answer(201, json.dumps(build(request, len(self.received))).encode())


def _one(request: Received, name: str) -> str | None:
    return request.form.get(name, [None])[0]


def _common(request: Received, sid: str, resource: str) -> dict[str, Any]:
    return {
        "account_sid": ACCOUNT_SID,
        "api_version": "2010-04-01",
        "date_created": "Sun, 22 Nov 2026 10:20:30 +0000",
        "date_updated": "Sun, 22 Nov 2026 10:20:30 +0000",
        "direction": "outbound-api",
        "from": _one(request, "From"),
        "price": None,
        "price_unit": "USD",
        "sid": sid,
        "status": "queued",
        "subresource_uris": {},
        "to": _one(request, "To"),
        "uri": f"/2010-04-01/Accounts/{ACCOUNT_SID}/{resource}/{sid}.json",
    }


def _message(request: Received, count: int) -> dict[str, Any]:
    return _common(request, f"SM{count:032x}", "Messages") | {
        "body": _one(request, "Body"),
        "date_sent": None,
        "error_code": None,
        "error_message": None,
        "messaging_service_sid": _one(request, "MessagingServiceSid"),
        "num_media": "0",
        "num_segments": "1",
    }


def _call(request: Received, count: int) -> dict[str, Any]:
    return _common(request, f"CA{count:032x}", "Calls") | {
        "answered_by": None,
        "caller_name": None,
        "duration": None,
        "end_time": None,
        "forwarded_from": None,
        "group_sid": None,
        "parent_call_sid": None,
        "phone_number_sid": "PN" + "0" * 32,
        "queue_time": "0",
        "start_time": None,
    }
