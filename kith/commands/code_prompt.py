"""The verification of a phone number at a terminal: send a code, ask for it, check it."""

import re
import unicodedata
from collections.abc import Callable

import click

from kith.client import Kith
from kith.commands.errors import REFUSED, Failure, describe_error, duration
from kith.commands.output import note
from kith.errors import KithProblem, KithUnreachable
from kith.models import Channel, Verification
from kith.problems import CodeRejected, NoSendsLeft, NotFound

MAX_OUTBOX_READS = 5
_OUTBOX_PAUSE_SECONDS = 0.5

_RESEND_WORDS: dict[str, Channel] = {"again": "sms", "call": "voice"}
_SPACES = "\t\n\v\f\r\x85"
#: Between the digits of a code: points and commas as in a transcribed call, and a minus.
_PUNCTUATION = re.compile(r"[.,\u00b7\u2212]")
#: Spaces; dashes; format characters such as direction marks; marks such as those of keycaps.
_IGNORED = frozenset({"Zs", "Zl", "Zp", "Pd", "Cf", "Mn", "Me"})


def read_code(text: str) -> str | None:
    """Return the 6 or 8 digits of a code as people type and paste it, None for other text.

    Digits of any script count, with spaces and dashes of any kind between them. The server reads
    codes in the same way: tests/data/typed_codes.json is for both.
    """
    digits = []
    for character in unicodedata.normalize("NFKC", text):
        category = unicodedata.category(character)
        if category == "Nd":
            digits.append(str(unicodedata.decimal(character)))
        elif not (
            category in _IGNORED or character in _SPACES or _PUNCTUATION.fullmatch(character)
        ):
            return None
    return "".join(digits) if len(digits) in (6, 8) else None


def send_first_code(kith: Kith, number: str, region: str | None, channel: Channel) -> Verification:
    """Start a verification; raise KithError, or Failure for an invalid number."""
    try:
        return kith.start_verification(
            number, region=region.upper() if region else None, channel=channel
        )
    except KithProblem as problem:
        if problem.code != "phone-number-invalid" or not region:
            raise
        failure = describe_error(problem)
        failure.hint = "Check the number, or write it as +4915112345678."
        raise failure from None


def ask_for_code(kith: Kith, verification: Verification) -> None:
    """Ask for the code until it is right; "again" and "call" send it again; raise KithError."""
    sent = "A call is on its way" if verification.channel == "voice" else "A text is on its way"
    note(f"{sent} to {verification.phone_number}.")
    _note_waits(verification)
    while True:
        answer = click.prompt("Code", err=True)
        word = answer.strip().lower()
        if word in _RESEND_WORDS:
            _send_again(kith, verification.id, _RESEND_WORDS[word])
            continue
        code = read_code(answer)
        if code is None or len(code) != verification.code_length:
            note(f"The code has {verification.code_length} digits.")
            continue
        try:
            kith.check_code(verification.id, code)
            return
        except CodeRejected as rejected:
            if rejected.checks_left == 0:
                raise
            left = "" if rejected.checks_left is None else f" {rejected.checks_left} tries left."
            note(f"That is not the code.{left}")
        except KithUnreachable:
            # The check may have arrived, and each one counts.
            if kith.verification(verification.id).status == "verified":
                return
            note("The connection broke; the code may not have arrived. Enter it again.")


def _send_again(kith: Kith, verification_id: str, channel: Channel) -> None:
    try:
        verification = kith.send_code(verification_id, channel)
    except KithProblem as problem:
        if problem.status != 429 and not isinstance(problem, NoSendsLeft):
            raise
        failure = describe_error(problem)
        note(f"{failure.message} {failure.hint}")
        return
    note("On its way again." if channel == "sms" else "A call is on its way.")
    _note_waits(verification)


def _note_waits(verification: Verification) -> None:
    ways = [
        f'"{word}" {what} in {duration(wait)}' if wait else f'"{word}" {what} now'
        for word, what, wait in (
            ("again", "sends it again", verification.next_sms_in),
            ("call", "has it read out", verification.next_voice_in),
        )
        if wait is not None
    ]
    if ways:
        note(f"Nothing came? Enter {', or '.join(ways)}.")


def read_outbox_code(kith: Kith, verification: Verification, sleep: Callable[[float], None]) -> str:
    """Return the code from a development server's outbox; raise Failure without one."""
    for attempt in range(MAX_OUTBOX_READS):
        if attempt:
            sleep(_OUTBOX_PAUSE_SECONDS)
        try:
            texts = kith.outbox(verification.phone_number)
        except NotFound:
            break
        code = find_code(texts[0].body, verification.code_length) if texts else None
        if code:
            return code
    raise Failure(
        "The server has no outbox with a code.",
        hint="--dev works with a development server (mock provider) only; leave it out.",
        exit_code=REFUSED,
    )


def find_code(body: str, length: int) -> str | None:
    """Return the code in a text ("123456") or a call ("1, 2, 3, 4, 5, 6"), None without one."""
    written = re.search(rf"(?<!\d)\d{{{length}}}(?!\d)", body)
    if written:
        return written[0]
    spoken = re.search(rf"(?<!\d)\d(?:[,.\s]+\d){{{length - 1}}}(?!\d)", body)
    return re.sub(r"\D", "", spoken[0]) if spoken else None
