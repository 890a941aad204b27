"""`flask --app app policy explain`: why a text or call was sent or refused, by an id or by a number.

A number is an argument and is never printed: only its digest and its prefix are stored.
"""

from datetime import timedelta
from typing import Any

import click
from flask.cli import with_appcontext

from core.base64url import decode
from core.clock import DAY
from core.commands import print_json, print_table
from core.durations import DurationOption
from core.phone_numbers import PhoneNumber, PhoneNumberInvalid, prefix_of
from core.runtime import Runtime
from core.secrets import DIGEST_SIZE
from verification.policy import explain
from verification.policy.known_numbers import is_known
from verification.policy.refusals import find_refusal, refusals_matching
from verification.policy.service import RETENTION

_VERDICTS = {"allow": "allowed", "challenge": "challenged", "deny": "denied"}
#: Bytes of a verification's id; CAMARA's clients know it without the zeros at its end.
_ID_SIZE, _CAMARA_ID_SIZE = 2 * DIGEST_SIZE, 27

Document = dict[str, Any]


def explain_command(runtime: Runtime, currency: str) -> click.Command:
    """Return the command; `currency` is that of prices."""

    # An id may start with a dash.
    @click.command("explain", context_settings={"ignore_unknown_options": True})
    @click.argument("what", metavar="ID|NUMBER")
    @click.option(
        "--since",
        type=DurationOption(),
        default="7d",
        show_default=True,
        help="How far back to look for a number.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
    @with_appcontext
    def command(what: str, since: timedelta, as_json: bool) -> None:
        """Print the decisions on texts and calls, and the results of every rule.

        ID is a verification's id (CAMARA: authenticationId) or the `decision` of a problem document, which
        names all refusals by one rule in one minute. NUMBER is a phone number with its plus: prints the
        decisions on it, its sends, and refusals that may concern it. Decisions are kept for 30 days.
        Exits with 1 if nothing is stored, with 2 for an invalid argument.
        Example: flask --app app policy explain +14165550123
        """
        if what.startswith("+"):
            _explain_number(runtime, currency, what, since, as_json)
        else:
            _explain_id(runtime, currency, what, as_json)

    return command


def _explain_id(runtime: Runtime, currency: str, text: str, as_json: bool) -> None:
    identity = decode(text, _ID_SIZE) or decode(text, _CAMARA_ID_SIZE)
    if identity is None:
        raise click.BadParameter(
            "an id has 43 letters, digits, - and _; a number starts with +", param_hint="ID|NUMBER"
        )
    identity = identity.ljust(_ID_SIZE, b"\0")
    digest, nonce = identity[:DIGEST_SIZE], identity[DIGEST_SIZE:]
    with runtime.database.read() as connection:
        decisions = explain.decisions_of_verification(connection, digest, nonce)
        refusals = [] if decisions else find_refusal(connection, identity)
    if not decisions and not refusals:
        raise click.ClickException(
            f"No decision on {text} is stored; decisions are kept for {RETENTION.days} days."
        )
    decided = [explain.decision_document(decision) for decision in decisions]
    refused = [explain.refusal_document(refusal) for refusal in refusals]
    if as_json:
        print_json({"id": text, "decisions": decided, "refusals": refused})
        return
    _print_all(decided, refused, currency)


def _explain_number(
    runtime: Runtime, currency: str, text: str, since: timedelta, as_json: bool
) -> None:
    try:
        number = PhoneNumber.parse(text)
    except PhoneNumberInvalid as invalid:
        raise click.BadParameter(invalid.detail or invalid.title, param_hint="NUMBER") from None
    digests = runtime.keyring.digests("number", number.e164)
    prefix, start = prefix_of(number.e164), runtime.clock() - since
    with runtime.database.read() as connection:
        known = is_known(connection, number.e164, digests)
        decisions = explain.decisions_of_number(connection, digests, start)
        sends = explain.sends_of_number(connection, digests, start)
        refusals = refusals_matching(connection, number.region, prefix, start)
    decided = [explain.decision_document(decision) for decision in decisions]
    refused = [
        explain.refusal_document(refusal)
        for refusal in refusals
        # A row of a single number concerns this one only if it is its own.
        if refusal.number_digest in (None, *digests)
    ]
    if as_json:
        found = {"country": number.region, "prefix": prefix, "known": known}
        print_json(found | {"decisions": decided, "sends": sends, "refusals": refused})
        return
    standing = (
        "it has an account or was verified in the last year"
        if known
        else "it has no account and was not verified in the last year"
    )
    click.echo(f"Type {number.kind}, country {number.region}, prefix {prefix}: {standing}.")
    if sends:
        click.echo("\nSends:")
        headings = ("  at", "channel", "provider", "status", "error", "verified", "verification")
        print_table(headings, map(_send_row, sends), words=7)
    if decided:
        click.echo("\nDecisions:\n")
        _print_all(decided, [], currency)
    if refused:
        click.echo("\nRefused, of this number or of others that the same rule refused:\n")
        _print_all([], refused, currency)
    if not decided and not refused:
        days = max(1, round(since / DAY))
        click.echo(f"No request for it reached the policy in the last {days} days.")


def _send_row(send: Document) -> tuple[str, ...]:
    return (
        f"  {send['at']}",
        send["channel"],
        send["provider"],
        send["status"],
        send["error_code"] or "-",
        send["verified_at"] or "no",
        send["verification"],
    )


def _print_all(decided: list[Document], refused: list[Document], currency: str) -> None:
    for place, document in enumerate([*decided, *refused]):
        if place:
            click.echo()
        sends = {True: "resend", False: "first send", None: "first sends and resends"}
        prefix = f"prefix {document['prefix']}" if document["prefix"] else "several prefixes"
        click.echo(
            f"{document['at']}  {sends[document['resend']]} on"
            f" {document['channel'] or 'several channels'},"
            f" {document['number_type']} number of {document['country'] or 'several countries'},"
            f" {prefix}, {document['price']:g} {currency} reserved"
        )
        if "requests" in document:
            _print_refusal(document)
        else:
            _print_decision(document)
        print_table(
            ("  rule", "mode", "verdict", "figures"),
            [
                (f"  {result['rule']}", result["mode"], result["verdict"], result["description"])
                for result in document["rules"]
            ],
            words=4,
        )


def _print_decision(decision: Document) -> None:
    by = f" by {decision['rule']}" if decision["rule"] else ""
    reserve = ", paid from the reserve for known numbers" if decision["reserve"] else ""
    click.echo(f"  {_VERDICTS[decision['verdict']]}{by}{reserve}")
    if decision["detail"]:
        click.echo(f"  detail: {decision['detail']}")
    click.echo(f"  challenge solved: {'yes' if decision['solved'] else 'no'}")
    click.echo(f"  verified: {decision['verified_at'] or 'no'}")


def _print_refusal(refusal: Document) -> None:
    requests = refusal["requests"]
    times = "once" if requests == 1 else f"{requests:,} times"
    numbers = "one number" if refusal["one_number"] else "several numbers"
    networks = "one network" if refusal["one_network"] else "several networks"
    click.echo(
        f"  {_VERDICTS[refusal['verdict']]} by {refusal['rule']}, {times} in this minute,"
        f" last at {refusal['last_at']}: {numbers}, {networks}"
    )
    click.echo(f"  detail: {refusal['detail']}")
    click.echo(f"  challenge solved: {refusal['solved']:,} of {requests:,} times")
    click.echo(f"  decision: {refusal['decision']}; figures are those of the first refusal")
