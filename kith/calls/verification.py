"""Own the calls that prove a number and make this a device of its account; they need no device
token.
"""

from dataclasses import dataclass

from kith.calls.base import Calls, answer, fresh_key, segment
from kith.key_models import DeviceRecovery
from kith.models import (
    Channel,
    LinkedDevice,
    OutboxText,
    Registration,
    Verification,
    base64url,
)
from kith.problems import ChallengeRequired, VerificationClosed, VerificationNotFound


def described(**members: str | None) -> dict[str, str]:
    """Return the members that were given."""
    return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True)
class _Outbox:
    messages: tuple[OutboxText, ...]


# Challenges of one text that are solved before it is given up.
_MOST_CHALLENGES = 3


class VerificationCalls(Calls):
    """Prove a number, register, redeem a link code."""

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
        """Send a code to `phone_number` by text or by call.

        region: ISO 3166 country, such as "DE", for a number written without a country code. locale:
        BCP 47 language of the text. app_hash: Android's SMS retriever hash. web_origin: such as
        "https://example.com" for WebOTP. supersedes: id of an earlier verification that is canceled when
        the code was sent. challenge_solution: of an earlier ChallengeRequired, for a
        client that does not solve challenges itself.
        """
        body = described(
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
        """Return how the verification stands."""
        response = self._requests.call("GET", f"/v1/verifications/{segment(verification_id)}")
        return answer(Verification, response)

    def send_code(
        self,
        verification_id: str,
        channel: Channel = "sms",
        *,
        challenge_solution: str | None = None,
    ) -> Verification:
        """Send the same code again, by text or by call; raise SendTooSoon before its time."""
        path = f"/v1/verifications/{segment(verification_id)}/sends"
        return self._send(path, described(channel=channel, challenge_solution=challenge_solution))

    def _send(self, path: str, body: dict[str, str]) -> Verification:
        """Ask for a text or a call, and again with the solution when a challenge is set.

        While one is worked at the limits may fill, so that a harder one is set.
        """
        key = fresh_key()
        for solved in range(_MOST_CHALLENGES + 1):
            try:
                response = self._requests.call("POST", path, body, idempotency_key=key)
                break
            except ChallengeRequired as required:
                if self._solve_challenge is None or solved == _MOST_CHALLENGES:
                    raise
                solution = self._solve_challenge(required.challenge or {})
                body = {**body, "challenge_solution": solution}
        return answer(Verification, response)

    def check_code(self, verification_id: str, code: str) -> Verification:
        """Check the code as it was typed; raise CodeRejected, with `checks_left`, for a wrong one, and
        CodeUnreadable, uncounted, for what cannot be the code.

        Never retried, as each check counts: after KithUnreachable ask `verification` whether it was
        verified.
        """
        path = f"/v1/verifications/{segment(verification_id)}/checks"
        return answer(
            Verification, self._requests.call("POST", path, {"code": code}, repeatable=False)
        )

    def cancel_verification(self, verification_id: str) -> None:
        """End the verification."""
        gone = (VerificationNotFound, VerificationClosed)
        self._requests.call(
            "DELETE", f"/v1/verifications/{segment(verification_id)}", done_when=gone
        )

    def register(
        self,
        verification_id: str,
        *,
        name: str | None = None,
        platform: str | None = None,
        registration_lock_pin: str | None = None,
        recovery: DeviceRecovery | None = None,
    ) -> Registration:
        """Turn a verified verification into a device of the number's account; its token is in the
        answer.

        recovery: of a device of this account that is to keep its id and its mailbox; those of all
        others are deleted. The client does not adopt the token: store it first, then set
        `device_token`. Raise RegistrationLocked when the account is locked and the PIN is missing or
        wrong, or DeviceNotRecoverable; the verification can be used again then.
        """
        body: dict[str, object] = {
            "verification_id": verification_id,
            "device": described(name=name, platform=platform),
            **described(registration_lock_pin=registration_lock_pin),
        }
        if recovery is not None:
            body["recover_device"] = {
                "device_id": recovery.device_id,
                "signature": base64url(recovery.signature),
            }
        response = self._requests.call(
            "POST", "/v1/registrations", body, idempotency_key=fresh_key()
        )
        return answer(Registration, response)

    def redeem_device_link(
        self, link_code: str, *, name: str | None = None, platform: str | None = None
    ) -> LinkedDevice:
        """Make this a device of the account that made the link code; the client does not adopt the
        token.
        """
        body = {"link_code": link_code, "device": described(name=name, platform=platform)}
        path = "/v1/device-links/redeem"
        return answer(
            LinkedDevice, self._requests.call("POST", path, body, idempotency_key=fresh_key())
        )

    def outbox(self, to: str) -> tuple[OutboxText, ...]:
        """Return what the mock provider sent to an E.164 number, newest first (development servers
        only).
        """
        response = self._requests.call("GET", "/dev/outbox.json", query={"to": to})
        return answer(_Outbox, response).messages
