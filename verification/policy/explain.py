"""Explaining: what was decided of a verification's texts and calls, or of a number's, and why, in words.

Only a number's prefix and country were stored in clear, and nothing else of it is told.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import Connection, select

from core.base64url import encode
from core.database import find_all, table
from sms.models import Send
from verification.policy import refusals
from verification.policy.file import AnyRule
from verification.policy.models import Decision, Refusal
from verification.policy.rules import MICROS, Rule
from verification.policy.service import HOW_TO_PASS

_DECISIONS = table(Decision)
_SENDS = table(Send)
#: The rules by their kind, as the policy file and the stored decisions name it.
_UNION, *_ = get_args(AnyRule)
KINDS: dict[str, type[Rule]] = {
    kind: rule
    for rule in get_args(_UNION)
    for kind in get_args(rule.model_fields["rule"].annotation)
}
#: What a rule found, in words for its figures; each part is left out where a figure is missing.
_WORDS: dict[str, tuple[str, ...]] = {
    "number-type": ("the number is {number_type}",),
    "country": ("the country is {country}",),
    "range": ("its range is {range}", "it begins like none of {ranges} refused ranges"),
    "velocity": ("{sends:g} in the bucket, {allowed} allowed",),
    "conversion": (
        "{unverified_hour} unverified this hour, {allowed_hour:g} allowed",
        "{unverified_day} unverified today, {allowed_day:g} allowed",
        "{unverified_prefix} of them in its prefix",
        "{lost:g} lost to what is over, {lost_per_day:g} allowed",
        "its network weighs {weight:g}",
    ),
    "countries": ("{countries} countries from its network in a day, {allowed} allowed",),
    "budget": ("{spent:g} spent today, {budget:g} allowed", "of the {part} part"),
}


def decisions_of(
    connection: Connection, number_digest: bytes, verification: bytes
) -> list[Decision]:
    """Give what was decided of a verification's first send and its resends, oldest first."""
    statement = (
        select(*_DECISIONS.columns)
        .where(
            _DECISIONS.c.number_digest == number_digest,
            _DECISIONS.c.verification == verification,
        )
        .order_by(_DECISIONS.c.created_at, _DECISIONS.c.id)
    )
    return find_all(connection, Decision, statement)


def decisions_about(
    connection: Connection, number_digests: Sequence[bytes], since: datetime
) -> list[Decision]:
    """Give what was decided of a number's texts and calls at a moment and after it, oldest first.

    number_digests: the number's, under every accepted secret.
    """
    statement = (
        select(*_DECISIONS.columns)
        .where(
            _DECISIONS.c.number_digest.in_(number_digests),
            _DECISIONS.c.created_at >= since,
        )
        .order_by(_DECISIONS.c.created_at, _DECISIONS.c.id)
    )
    return find_all(connection, Decision, statement)


def sends_about(
    connection: Connection, number_digests: Sequence[bytes], since: datetime
) -> list[dict[str, Any]]:
    """Give what was handed to providers for a number, oldest first, as JSON has it."""
    statement = (
        select(*_SENDS.columns)
        .where(_SENDS.c.number_digest.in_(number_digests), _SENDS.c.created_at >= since)
        .order_by(_SENDS.c.created_at, _SENDS.c.id)
    )
    return [
        {
            "at": _when(send.created_at),
            "verification": encode(send.number_digest + send.verification),
            "channel": send.channel,
            "provider": send.provider,
            "status": send.status,
            "error_code": send.error_code,
            "verified_at": send.verified_at and _when(send.verified_at),
        }
        for send in find_all(connection, Send, statement)
    ]


def refusal_document(refusal: Refusal) -> dict[str, Any]:
    """Give the refusals of a minute as JSON has them; the figures are those of the first."""
    key = refusals.RefusalKey(refusal.subject, refusal.rule, refusal.minute)
    return {
        "decision": key.id,
        "at": _when(refusal.created_at),
        "last_at": _when(refusal.last_at),
        "requests": refusal.requests,
        "solved": refusal.solved,
        "country": refusal.country,
        "prefix": refusal.prefix,
        "one_number": refusal.number_digest is not None,
        "one_network": refusal.network is not None,
        "number_type": refusal.number_type,
        "channel": refusal.channel,
        "resend": refusal.resend,
        "price": refusal.price_micros / MICROS,
        "verdict": refusal.verdict,
        "rule": refusal.rule,
        "told": told(refusal.verdict, refusal.rule, refusal.findings),
        "findings": [_finding(found) for found in json.loads(refusal.findings)],
    }


def document(decision: Decision) -> dict[str, Any]:
    """Give a decision as JSON has it, with words for what each rule found and the person was told."""
    return {
        "at": _when(decision.created_at),
        "country": decision.country,
        "prefix": decision.prefix,
        "number_type": decision.number_type,
        "channel": decision.channel,
        "resend": decision.resend,
        "price": decision.price_micros / MICROS,
        "verdict": decision.verdict,
        "rule": decision.rule,
        "told": told(decision.verdict, decision.rule, decision.findings),
        "solved": decision.solved,
        "reserve": decision.reserve,
        "verified_at": decision.verified_at and _when(decision.verified_at),
        "findings": [_finding(found) for found in json.loads(decision.findings)],
    }


def told(verdict: str, label: str | None, findings: str = "[]") -> str | None:
    """Say what a person was told when a rule refused them; None when none did."""
    kind = KINDS.get(_kind(label)) if label else None
    if kind is None:
        return None
    for found in json.loads(findings):
        if found["rule"] == label and "because" in found:
            return f"{kind.detail} {found['because']}"
    if verdict == "challenge":
        return f"{kind.asking or kind.detail} {HOW_TO_PASS}"
    return kind.detail


def words(label: str, figures: Mapping[str, Any]) -> str:
    """Say the figures of a rule in words; of a rule that is no more, as they are."""
    parts = []
    for part in _WORDS.get(_kind(label), ()):
        try:
            parts.append(part.format_map(figures))
        except KeyError:
            continue
    if not parts:
        parts = [f"{name} {value}" for name, value in figures.items()]
    return "; ".join(parts) or "does not apply"


def _finding(found: dict[str, Any]) -> dict[str, Any]:
    rule, mode, verdict = found.pop("rule"), found.pop("mode"), found.pop("verdict")
    return {
        "rule": rule,
        "mode": mode,
        "verdict": verdict,
        "figures": found,
        "words": words(rule, found),
    }


def _kind(label: str) -> str:
    return label.partition("/")[0]


def _when(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
