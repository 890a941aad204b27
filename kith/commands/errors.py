"""How a command fails: one line that says what happened, one that says what to do, and an exit code.

Tokens, codes and control characters of a server or a file never reach the terminal.
"""

import contextlib
import os
import re
import sys
from typing import Any, NoReturn

import click

from kith.commands.output import clean
from kith.errors import (
    ChallengeRefused,
    KithAuthoritiesUnreadable,
    KithCertificateRefused,
    KithError,
    KithProblem,
    KithUnreachable,
)
from kith.problems import TokenExpired, TokenInvalid, TokenMissing, TokenReused
from kith.storage import CredentialsBroken, CredentialsMissing

SERVER_FAILED, USAGE, NOT_SIGNED_IN, UNREACHABLE, REFUSED, LATER, LOCAL_FILE = 1, 2, 3, 4, 5, 6, 7
BUDGET_USED_UP, UNREADABLE_INPUT = 8, 9
STOPPED = 130
OUTPUT_CLOSED = 141  # as a shell reports a program that ended by SIGPIPE

_REGISTER_AGAIN = "Sign in again with: kith register NUMBER"
_START_AGAIN = "Start again with: kith register NUMBER"
_HINTS = {
    "phone-number-invalid": "Write it as +4915112345678, or give --region.",
    "phone-number-refused": "Use another number; this service does not send to this one.",
    "verification-expired": _START_AGAIN,
    "verification-closed": _START_AGAIN,
    "verification-not-found": _START_AGAIN,
    "verification-used": _START_AGAIN,
    "checks-exhausted": _START_AGAIN,
    "no-sends-left": "Start again later with: kith register NUMBER",
    "longer-code-required": "Start again with: kith register NUMBER. The next code has 8 digits.",
    "send-rejected": "Check the number; it cannot receive this. A call may work: --voice",
    "send-blocked": "This service does not send to this number. Ask its operator.",
    "destination-refused": "Use a number of another country, or ask the server's operator.",
    "registration-locked": "Give the account's PIN, or wait until the lock ends.",
    "token-missing": _REGISTER_AGAIN,
    "token-invalid": f"This device was signed out. {_REGISTER_AGAIN}",
    "token-expired": f"This device was not used for too long; its messages are kept. {_REGISTER_AGAIN}",
    "token-reused": f"The device was signed out for safety; its messages are kept. {_REGISTER_AGAIN}",
    "device-not-found": "See which there are with: kith devices",
    "too-many-devices": "Remove one with: kith devices remove ID",
    "link-code-invalid": "Make a new one on the other device with: kith devices link",
    "not-found": "Is this address a Kith server? Check --server.",
}


#: Instructions for programs: a request, or the name of a field.
_FOR_PROGRAMS = re.compile(r"\b(?:GET|PUT|POST|PATCH|DELETE) /|\b[a-z]+_[a-z_]+\b")
_SENTENCES = re.compile(r"(?<=[.!?])\s+")


class Failure(click.ClickException):
    """Ends the command with a message, a hint and an exit code."""

    def __init__(self, message: str, *, hint: str = "", exit_code: int = SERVER_FAILED) -> None:
        """Take what happened, and what to do now."""
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: Any = None) -> None:
        """Write both lines to stderr."""
        click.echo(f"kith: {clean(self.message)}", err=True)
        if self.hint:
            click.echo(f"      {clean(self.hint)}", err=True)


class ErrorGroup(click.Group):
    """Turns the library's exceptions into failures."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; raise Failure instead of the library's exceptions."""
        try:
            return super().invoke(ctx)
        except KithError as error:
            raise describe_error(error) from None
        except CredentialsMissing:
            _fail("Nobody is signed in here.", _REGISTER_AGAIN.replace(" again", ""), NOT_SIGNED_IN)
        except CredentialsBroken as error:
            _fail(str(error), "", LOCAL_FILE)
        except BrokenPipeError:
            # The reader is gone, as with "| head"; discard what Python has buffered.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(OUTPUT_CLOSED)
        except (click.Abort, KeyboardInterrupt):
            _fail("Stopped; no more input was given.", "", STOPPED)


def describe_error(error: KithError) -> Failure:
    """Return the failure for an exception of the library."""
    if isinstance(error, KithAuthoritiesUnreadable):
        return Failure(str(error), hint="See SSL_CERT_FILE and SSL_CERT_DIR.", exit_code=LOCAL_FILE)
    if isinstance(error, KithCertificateRefused):
        return Failure(
            str(error),
            hint="Give --server the name that it is for; SSL_CERT_FILE names an own authority's file.",
            exit_code=UNREACHABLE,
        )
    if isinstance(error, KithUnreachable):
        return Failure(
            str(error),
            hint="Is the server running? Give its address with --server or KITH_SERVER.",
            exit_code=UNREACHABLE,
        )
    if isinstance(error, ChallengeRefused):
        return Failure(str(error), hint="Tell its operator.", exit_code=SERVER_FAILED)
    if not isinstance(error, KithProblem):
        return Failure(str(error), hint="Check --server.", exit_code=SERVER_FAILED)
    message = _without_instructions(error.detail) or error.title
    for fault in error.errors:
        if fault.detail in message:
            continue
        message += f" {fault.pointer}: {fault.detail}"
    return Failure(message, hint=_hint(error), exit_code=_exit_code(error))


def duration(seconds: int) -> str:
    """Return a wait in words, such as "45 seconds", "3 minutes", "2 days"; rounded up."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{-(-seconds // size)} {unit}s"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


def _without_instructions(detail: str) -> str:
    """Return a problem's detail without the sentences for programs."""
    return " ".join(one for one in _SENTENCES.split(detail) if not _FOR_PROGRAMS.search(one))


def _hint(problem: KithProblem) -> str:
    hints = [_HINTS.get(problem.code, "")]
    if isinstance(problem, TokenInvalid) and "recover_device" in problem.detail:
        hints = [f"This device was signed out; its messages are kept. {_REGISTER_AGAIN}"]
    if problem.retry_after:
        hints.append(f"Try again in {duration(problem.retry_after)}.")
    if problem.decision and problem.code != "challenge-required":
        hints.append(f"The server's operator can look up why: {problem.decision}.")
    if problem.status >= 500 and problem.request_id:
        hints.append(f"Tell the operator request {problem.request_id}.")
    return " ".join(hint for hint in hints if hint)


def _exit_code(problem: KithProblem) -> int:
    if isinstance(problem, TokenMissing | TokenInvalid | TokenExpired | TokenReused):
        return NOT_SIGNED_IN
    if problem.status in (423, 429, 503) or problem.code == "idempotency-in-progress":
        return LATER
    return REFUSED if 400 <= problem.status < 500 else SERVER_FAILED


def _fail(message: str, hint: str, exit_code: int) -> NoReturn:
    raise Failure(message, hint=hint, exit_code=exit_code) from None
