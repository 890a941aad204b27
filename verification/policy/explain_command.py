"""`flask --app app policy explain`: why a text was sent or refused, by an id or by a number.

A number is an argument and never printed: what is stored are its digest and its prefix.
"""

from datetime import timedelta
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext

from core.base64url import decode
from core.clock import DAY
from core.commands import print_json, print_table
from core.phone_numbers import PhoneNumber, PhoneNumberInvalid, prefix_of
from core.secrets import DIGEST_SIZE
from sms.routing_file import load_routing
from verification.policy import explain, refusals
from verification.policy.owners import is_known
from verification.policy.period import Period
from verification.policy.service import RETENTION

MODES = {"enforce": "enforced", "record": "recorded"}
_VERDICTS = {"allow": "allowed", "challenge": "challenged", "deny": "denied"}
#: Bytes of a verification's id; and of one that CAMARA's clients know, without the zeros it ends in.
_ID_SIZE, _SHORT_ID_SIZE = 2 * DIGEST_SIZE, 27
_HEADINGS = ("  rule", "mode", "verdict", "figures")


# An id may begin with a dash.
@click.command("explain", context_settings={"ignore_unknown_options": True})
@click.argument("what", metavar="ID|NUMBER")
@click.option(
    "--since", type=Period(), default="7d", show_default=True, help="How far back for a number."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@with_appcontext
def explain_command(what: str, since: timedelta, as_json: bool) -> None:
    """Say what was decided of texts and calls, and why.

    ID is a verification's id (CAMARA: authenticationId), or the `decision` of a refusal's problem
    document, which names all refusals by one rule in one minute. NUMBER is a phone number with its plus:
    what was decided of it lately, what was sent, and what was refused that may have been its own.
    Decisions are kept for 30 days. Exits with 1 when none is stored, with 2 for what can be neither.
    Example: flask --app app policy explain +14165550123
    """
    if what.startswith("+"):
        _explain_number(what, since, as_json)
    else:
        _explain_id(what, as_json)


def _explain_id(identity: str, as_json: bool) -> None:
    name = decode(identity, _ID_SIZE) or decode(identity, _SHORT_ID_SIZE)
    if name is None:
        raise click.BadParameter(
            "an id has 43 letters, digits, - and _; a number begins with +", param_hint="ID|NUMBER"
        )
    name = name.ljust(_ID_SIZE, b"\0")
    with current_app.extensions["kith"].runtime.database.read() as connection:
        decisions = explain.decisions_of(connection, name[:DIGEST_SIZE], name[DIGEST_SIZE:])
        refused = [] if decisions else refusals.find(connection, name)
    if not decisions and not refused:
        raise click.ClickException(
            f"Nothing was decided of {identity}, or more than {RETENTION.days} days ago."
        )
    documents = [explain.document(decision) for decision in decisions]
    minutes = [explain.refusal_document(refusal) for refusal in refused]
    if as_json:
        print_json({"id": identity, "decisions": documents, "refusals": minutes})
        return
    _print_all(documents, minutes)


def _explain_number(text: str, since: timedelta, as_json: bool) -> None:
    try:
        number = PhoneNumber.parse(text)
    except PhoneNumberInvalid as invalid:
        raise click.BadParameter(invalid.detail or invalid.title, param_hint="NUMBER") from None
    kith = current_app.extensions["kith"]
    digests = kith.runtime.keyring.digests("number", number.e164)
    prefix, begin = prefix_of(number.e164), kith.runtime.clock() - since
    with kith.runtime.database.read() as connection:
        known = is_known(connection, number.e164, digests)
        decisions = explain.decisions_about(connection, digests, begin)
        sends = explain.sends_about(connection, digests, begin)
        refused = refusals.about(connection, number.region, prefix, begin)
    # A row of one number is another's, unless it is this one's.
    refused = [row for row in refused if row.number_digest in (None, *digests)]
    documents = [explain.document(decision) for decision in decisions]
    minutes = [explain.refusal_document(refusal) for refusal in refused]
    if as_json:
        found = {"country": number.region, "prefix": prefix, "known": known}
        print_json(found | {"decisions": documents, "sends": sends, "refusals": minutes})
        return
    standing = (
        "it has an account or was verified in the last year"
        if known
        else "it has no account and was not verified in the last year"
    )
    click.echo(f"Kind {number.kind}, country {number.region}, prefix {prefix}: {standing}.")
    if sends:
        click.echo("\nHanded to providers:")
        print_table(
            ("  at", "channel", "provider", "status", "error", "verified", "verification"),
            [
                (
                    f"  {send['at']}",
                    send["channel"],
                    send["provider"],
                    send["status"],
                    send["error_code"] or "-",
                    send["verified_at"] or "no",
                    send["verification"],
                )
                for send in sends
            ],
            words=7,
        )
    if documents:
        click.echo("\nDecided of it:\n")
        _print_all(documents, [])
    if minutes:
        click.echo("\nRefused, of it or of other numbers that the same rule stopped:\n")
        _print_all([], minutes)
    if not documents and not minutes:
        days = max(1, round(since / DAY))
        click.echo(f"Nothing was asked for it in the last {days} days that reached the policy.")


def _print_all(documents: list[dict[str, Any]], minutes: list[dict[str, Any]]) -> None:
    for place, decided in enumerate(documents):
        if place:
            click.echo()
        _print_decision(decided, currency())
    for place, refused in enumerate(minutes):
        if place:
            click.echo()
        _print_refusal(refused, currency())


def _print_decision(decided: dict[str, Any], money: str) -> None:
    kind = "resend" if decided["resend"] else "first send"
    by = f" by {decided['rule']}" if decided["rule"] else ""
    click.echo(
        f"{decided['at']}  {kind} on {decided['channel']}, {decided['number_type']} number of"
        f" {decided['country']}, prefix {decided['prefix']}, {decided['price']:g} {money} reserved"
    )
    reserve = ", from what is kept for known numbers" if decided["reserve"] else ""
    click.echo(f"  {_VERDICTS[decided['verdict']]}{by}{reserve}")
    if decided["told"]:
        click.echo(f"  told: {decided['told']}")
    click.echo(f"  a challenge was solved for it: {'yes' if decided['solved'] else 'no'}")
    click.echo(f"  verified: {decided['verified_at'] or 'no'}")
    _print_findings(decided["findings"])


def _print_refusal(refused: dict[str, Any], money: str) -> None:
    kinds = {True: "resends", False: "first sends", None: "first sends and resends"}
    requests = refused["requests"]
    times = "once" if requests == 1 else f"{requests:,} times"
    whose = "one number" if refused["one_number"] else "several numbers"
    whence = "one network" if refused["one_network"] else "several networks"
    where = f"prefix {refused['prefix']}" if refused["prefix"] else "several prefixes"
    click.echo(
        f"{refused['at']}  {kinds[refused['resend']]} on {refused['channel'] or 'several channels'},"
        f" {refused['number_type']} number of"
        f" {refused['country'] or 'several countries'}, {where}, {refused['price']:g} {money} reserved"
    )
    click.echo(
        f"  {_VERDICTS[refused['verdict']]} by {refused['rule']}, {times} in this minute,"
        f" last at {refused['last_at']}: {whose}, {whence}"
    )
    click.echo(f"  told: {refused['told']}")
    click.echo(f"  a challenge was solved for it: {refused['solved']:,} of {requests:,} times")
    click.echo(f"  decision: {refused['decision']}; the figures are the first one's")
    _print_findings(refused["findings"])


def _print_findings(findings: list[dict[str, Any]]) -> None:
    print_table(
        _HEADINGS,
        [
            (f"  {found['rule']}", MODES[found["mode"]], found["verdict"], found["words"])
            for found in findings
        ],
        words=4,
    )


def currency() -> str:
    """Name the currency that prices are in."""
    kith = current_app.extensions["kith"]
    return load_routing(kith.settings, list(kith.sms.providers)).currency
