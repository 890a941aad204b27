"""Own the reading of an answer outside 2xx into the exception that it stands for.

Refuse to fail on any answer: a proxy's HTML page becomes a KithProblem as well.
"""

import email.utils
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from kith.errors import FieldFault, KithProblem
from kith.problems import KNOWN

LONGEST_ID = 128


def problem_of(response: httpx.Response) -> KithProblem:
    """Return the problem that an answer outside 2xx stands for, whatever its body is."""
    document = _document(response)
    kind = document.get("type")
    code = kind.rsplit("/", 1)[-1] if isinstance(kind, str) and kind != "about:blank" else ""
    code = code or f"http-{response.status_code}"
    return KNOWN.get(code, KithProblem)(
        code=code,
        title=_text(document, "title") or response.reason_phrase or "Unexpected answer",
        status=response.status_code,
        detail=_text(document, "detail"),
        request_id=(_text(document, "instance") or response.headers.get("X-Request-Id", ""))[
            :LONGEST_ID
        ]
        or None,
        retry_after=retry_after_of(response, document),
        errors=[
            FieldFault(_text(fault, "pointer"), _text(fault, "detail"))
            for fault in _list(document, "errors")
            if isinstance(fault, Mapping)
        ],
        checks_left=_whole(document.get("checks_left")),
        missing=[str(device_id) for device_id in _list(document, "missing")],
        extra=[str(device_id) for device_id in _list(document, "extra")],
        stale=[str(device_id) for device_id in _list(document, "stale")],
        left=_whole(document.get("left")),
        capacity=_whole(document.get("capacity")),
        needed=_whole(document.get("needed")),
        challenge=_object(document, "challenge"),
        decision=_text(document, "decision")[:LONGEST_ID] or None,
        version=_whole(document.get("version")),
        unknown=[str(account_id) for account_id in _list(document, "unknown")],
    )


def retry_after_of(response: httpx.Response, document: Mapping[str, Any]) -> int | None:
    """Return how many seconds to wait: the Retry-After header (seconds or HTTP-date), else the
    problem's member.

    A date is measured from the answer's own Date header where it has one, so a wrong local clock
    does no harm.
    """
    written = response.headers.get("Retry-After", "").strip()
    if written.isascii() and written.isdigit() and len(written) < 10:
        return int(written)
    moment = _moment(written)
    if moment is not None:
        now = _moment(response.headers.get("Date", "")) or datetime.now(UTC)
        return max(0, round((moment - now).total_seconds()))
    return _whole(document.get("retry_after"))


def _moment(written: str) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(written)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _document(response: httpx.Response) -> Mapping[str, Any]:
    try:
        document = response.json()
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    return value if isinstance(value, list) else []


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    value = document.get(name)
    return value if isinstance(value, dict) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
