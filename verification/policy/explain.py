"""Explanations: stored decisions, sends and refusals as JSON documents, with figures in words.

Of a number only its prefix and country are stored in clear; nothing else of it is shown.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import Connection, select

from core.base64url import encode
from core.database import find_all, table
from sms.models import Send
from verification.policy.file import AnyRule
from verification.policy.models import Decision, Refusal
from verification.policy.refusals import RefusalKey
from verification.policy.rules import MICROS, Rule
from verification.policy.service import CHALLENGE_INSTRUCTION

_DECISIONS = table(Decision)
_SENDS = table(Send)
#: The rules by their kind, as policy files and stored results name it.
_UNION, *_ = get_args(AnyRule)
KINDS: dict[str, type[Rule]] = {
    kind: rule
    for rule in get_args(_UNION)
    for kind in get_args(rule.model_fields["rule"].annotation)
}
#: Templates for the figures of a rule's result; a template whose figures are missing is left out.
_TEMPLATES: dict[str, tuple[str, ...]] = {
    "number-type": ("the number type is {number_type}",),
    "country": ("the country is {country}",),
    "range": ("it is in the range {range}", "it is in none of {ranges} denied ranges"),
    "velocity": ("{sends:g} sends in the bucket, {allowed} allowed",),
    "conversion": (
        "{unverified_hour} unverified this hour, {allowed_hour:g} allowed",
        "{unverified_day} unverified today, {allowed_day:g} allowed",
        "{unverified_prefix} of them to its prefix",
        "{lost:g} lost to sends over the limit, {lost_per_day:g} allowed",
        "weight of its subnet {weight:g}",
    ),
    "countries": ("{countries} countries from its network in a day, {allowed} allowed",),
    "budget": ("{spent:g} spent today, {budget:g} allowed", "{part} part of the budget"),
}


def decisions_of_verification(
    connection: Connection, number_digest: bytes, nonce: bytes
) -> list[Decision]:
    """Return the decisions on a verification's first send and its resends, oldest first."""
    statement = select(*_DECISIONS.columns).where(
        _DECISIONS.c.number_digest == number_digest, _DECISIONS.c.verification_nonce == nonce
    )
    ordered = statement.order_by(_DECISIONS.c.created_at, _DECISIONS.c.id)
    return find_all(connection, Decision, ordered)


def decisions_of_number(
    connection: Connection, number_digests: Sequence[bytes], since: datetime
) -> list[Decision]:
    """Return the decisions on a number's texts and calls since a moment, oldest first.

    number_digests: the number's, under every accepted secret.
    """
    statement = select(*_DECISIONS.columns).where(
        _DECISIONS.c.number_digest.in_(number_digests), _DECISIONS.c.created_at >= since
    )
    ordered = statement.order_by(_DECISIONS.c.created_at, _DECISIONS.c.id)
    return find_all(connection, Decision, ordered)


def sends_of_number(
    connection: Connection, number_digests: Sequence[bytes], since: datetime
) -> list[dict[str, Any]]:
    """Return the documents of a number's sends since a moment, oldest first."""
    statement = (
        select(*_SENDS.columns)
        .where(_SENDS.c.number_digest.in_(number_digests), _SENDS.c.created_at >= since)
        .order_by(_SENDS.c.created_at, _SENDS.c.id)
    )
    return [
        {
            "at": _timestamp(send.created_at),
            "verification": encode(send.number_digest + send.verification_nonce),
            "channel": send.channel,
            "provider": send.provider,
            "status": send.status,
            "error_code": send.error_code,
            "verified_at": send.verified_at and _timestamp(send.verified_at),
        }
        for send in find_all(connection, Send, statement)
    ]


def refusal_document(refusal: Refusal) -> dict[str, Any]:
    """Return the document of a minute's refusals; its figures are those of the first."""
    return _document(refusal) | {
        "decision": RefusalKey(refusal.subject, refusal.rule, refusal.minute).id,
        "last_at": _timestamp(refusal.last_at),
        "requests": refusal.requests,
        "one_number": refusal.number_digest is not None,
        "one_network": refusal.network is not None,
    }


def decision_document(decision: Decision) -> dict[str, Any]:
    """Return the document of a decision."""
    return _document(decision) | {
        "reserve": decision.reserve,
        "verified_at": decision.verified_at and _timestamp(decision.verified_at),
    }


def _document(row: Decision | Refusal) -> dict[str, Any]:
    return {
        "at": _timestamp(row.created_at),
        "country": row.country,
        "prefix": row.prefix,
        "number_type": row.number_type,
        "channel": row.channel,
        "resend": row.resend,
        "price": row.price_micros / MICROS,
        "verdict": row.verdict,
        "rule": row.rule,
        "detail": problem_detail(row.verdict, row.rule, row.rule_results),
        "solved": row.solved,
        "rules": [_rule_document(result) for result in json.loads(row.rule_results)],
    }


def problem_detail(verdict: str, label: str | None, rule_results: str = "[]") -> str | None:
    """Return the detail of the problem that a rule's refusal raised; None if no rule refused."""
    kind = KINDS.get(_kind(label)) if label else None
    if kind is None:
        return None
    for result in json.loads(rule_results):
        if result["rule"] == label and "reason" in result:
            return f"{kind.detail} {result['reason']}"
    if verdict == "challenge":
        return f"{kind.challenge_detail or kind.detail} {CHALLENGE_INSTRUCTION}"
    return kind.detail


def describe(label: str, figures: Mapping[str, Any]) -> str:
    """Return the figures of a rule in words; those of a rule that no longer exists as they are."""
    parts = []
    for template in _TEMPLATES.get(_kind(label), ()):
        try:
            parts.append(template.format_map(figures))
        except KeyError:
            continue
    if not parts:
        parts = [f"{name} {value}" for name, value in figures.items()]
    return "; ".join(parts) or "does not apply"


def _rule_document(result: dict[str, Any]) -> dict[str, Any]:
    rule, mode, verdict = result.pop("rule"), result.pop("mode"), result.pop("verdict")
    return {
        "rule": rule,
        "mode": mode,
        "verdict": verdict,
        "figures": result,
        "description": describe(rule, result),
    }


def _kind(label: str) -> str:
    return label.partition("/")[0]


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
