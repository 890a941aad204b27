"""Calls that verify a phone number and register a device, and the proof of work (ALTCHA, version 2)
that a server may require before it sends a text. They need no device token.
"""

import re
from collections.abc import Mapping
from typing import Any

import altcha

from kith.api import ApiCalls, new_idempotency_key, path_segment, without_none
from kith.errors import ChallengeRefused
from kith.models import (
    Answer,
    Channel,
    LinkedDevice,
    OutboxText,
    Registration,
    Verification,
    base64url,
)
from kith.problems import ChallengeRequired, VerificationClosed, VerificationNotFound

ALGORITHM = "PBKDF2/SHA-256"
# Expected hash iterations: half a minute of one core that computes 6 million a second. A hostile
# server must not keep this machine busy.
MAX_ITERATIONS = 200_000_000
MAX_CHALLENGES = 3  # for one text

_ATTEMPT_OVERHEAD = 50  # overhead of an attempt in iterations
_MAX_SECONDS = 300.0
_KEY_BYTES = 32
_HEX = re.compile(r"[0-9a-fA-F]{1,64}")


class _Outbox(Answer, frozen=True):
    messages: tuple[OutboxText, ...]


class DeviceRecovery(Answer, frozen=True):
    """The device to recover at a registration, and its identity key's signature, 64 bytes, over
    `0x03` and the verification's id in ASCII.
    """

    device_id: str
    signature: bytes


def solve_challenge(challenge: Mapping[str, Any]) -> str:
    """Return the `challenge_solution` for the `challenge` of a ChallengeRequired.

    It takes from milliseconds to half a minute. Raise ChallengeRefused for a challenge that is
    malformed, of another kind or would take longer.
    """
    try:
        parsed = altcha.Challenge.from_dict(dict(challenge))
        iterations = _expected_iterations(parsed.parameters)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ChallengeRefused("The server's challenge cannot be read.") from None
    if iterations > MAX_ITERATIONS:
        raise ChallengeRefused("The server's challenge needs more work than this client does.")
    solution = altcha.solve_challenge(parsed, timeout=_MAX_SECONDS)
    if solution is None:
        raise ChallengeRefused("The server's challenge was not solved in time.")
    return altcha.Payload(parsed, solution).to_base64()


def _expected_iterations(parameters: altcha.ChallengeParameters) -> int:
    """Return the iterations that a solution takes on average; raise ValueError or TypeError for
    malformed parameters.
    """
    if parameters.algorithm != ALGORITHM:
        raise ValueError("unsupported algorithm")
    for text in (parameters.nonce, parameters.salt, parameters.key_prefix):
        if not _HEX.fullmatch(text):
            raise ValueError("no hex digits")
    if parameters.key_length != _KEY_BYTES or type(parameters.cost) is not int:
        raise ValueError("unsupported length or cost")
    attempts = 1 << 4 * len(parameters.key_prefix)
    return attempts * (max(1, parameters.cost) + _ATTEMPT_OVERHEAD)


class VerificationCalls(ApiCalls):
    """Verify a phone number, register a device, redeem a link code."""

    def start_verification(
        self,
        phone_number: str,
        *,
        region: str | None = None,
        channel: Channel = "sms",
        locale: str | None = None,
        app_hash: str | None = None,
        web_origin: str | None = None,
        supersedes: str | None = None,
        challenge_solution: str | None = None,
    ) -> Verification:
        """Send a code to `phone_number` by text or call.

        region: ISO 3166 country, such as "DE", of a number without a country code. locale: BCP 47
        language of the text. app_hash: Android's SMS Retriever hash. web_origin: such as
        "https://example.com" for WebOTP. supersedes: id of an earlier verification, which is
        canceled once the code is sent. challenge_solution: for a client that solves challenges
        itself.
        """
        body = without_none(
            phone_number=phone_number,
            region=region,
            channel=channel,
            locale=locale,
            app_hash=app_hash,
            web_origin=web_origin,
            supersedes=supersedes,
            challenge_solution=challenge_solution,
        )
        return self._send("/v1/verifications", body)

    def verification(self, verification_id: str) -> Verification:
        """Return the current state of a verification."""
        return self._read(Verification, "GET", _path(verification_id))

    def send_code(
        self,
        verification_id: str,
        channel: Channel = "sms",
        *,
        challenge_solution: str | None = None,
    ) -> Verification:
        """Send the same code again by text or call; raise SendTooSoon before the wait is over."""
        body = without_none(channel=channel, challenge_solution=challenge_solution)
        return self._send(f"{_path(verification_id)}/sends", body)

    def _send(self, path: str, body: dict[str, str]) -> Verification:
        """Request a text or call; solve the challenges of the server.

        A limit may fill up while one is solved, and the server then sets a harder one.
        """
        key = new_idempotency_key()
        for challenges_left in reversed(range(MAX_CHALLENGES + 1)):
            try:
                return self._read(Verification, "POST", path, body, idempotency_key=key)
            except ChallengeRequired as required:
                if self._solve_challenge is None or not challenges_left:
                    raise
                solution = self._solve_challenge(required.challenge or {})
                body = {**body, "challenge_solution": solution}
        raise AssertionError("the last request returns or raises")

    def check_code(self, verification_id: str, code: str) -> Verification:
        """Check the code as typed; raise CodeRejected, with `checks_left`, for a wrong one, and
        CodeUnreadable, uncounted, for a text that cannot be a code.

        Never retried, as each check counts: after KithUnreachable, `verification` returns whether
        the number is verified.
        """
        path = f"{_path(verification_id)}/checks"
        return self._read(Verification, "POST", path, {"code": code}, repeatable=False)

    def cancel_verification(self, verification_id: str) -> None:
        """Cancel the verification."""
        gone = (VerificationNotFound, VerificationClosed)
        self._transport.call("DELETE", _path(verification_id), done_when=gone)

    def register(
        self,
        verification_id: str,
        *,
        name: str | None = None,
        platform: str | None = None,
        registration_lock_pin: str | None = None,
        recovery: DeviceRecovery | None = None,
    ) -> Registration:
        """Register a device of the verified number's account; the answer has its token.

        recovery: a device of this account that keeps its id and mailbox; all other devices are
        deleted. The client does not use the token by itself: store it, then set `device_token`.
        Raise RegistrationLocked when the PIN is missing or wrong, or DeviceNotRecoverable; the
        verification can then be used again.
        """
        body = without_none(
            verification_id=verification_id,
            device=without_none(name=name, platform=platform),
            registration_lock_pin=registration_lock_pin,
        )
        if recovery is not None:
            body["recover_device"] = {
                "device_id": recovery.device_id,
                "signature": base64url(recovery.signature),
            }
        key = new_idempotency_key()
        return self._read(Registration, "POST", "/v1/registrations", body, idempotency_key=key)

    def redeem_device_link(
        self, link_code: str, *, name: str | None = None, platform: str | None = None
    ) -> LinkedDevice:
        """Add a device to the account of the link code; the client does not use the token by
        itself.
        """
        body = {"link_code": link_code, "device": without_none(name=name, platform=platform)}
        path, key = "/v1/device-links/redeem", new_idempotency_key()
        return self._read(LinkedDevice, "POST", path, body, idempotency_key=key)

    def outbox(self, to: str) -> tuple[OutboxText, ...]:
        """Return what the mock provider sent to an E.164 number, newest first (development servers
        only).
        """
        return self._read(_Outbox, "GET", "/dev/outbox.json", query={"to": to}).messages


def _path(verification_id: str) -> str:
    return f"/v1/verifications/{path_segment(verification_id)}"
