"""Verifications: start, resend, show, cancel.

A request is claimed, counted by the policy and queued in one transaction, which ends before any provider is
called (sending.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from core import idempotency
from core.database import Database, purge
from core.idempotency import FirstRequest, IdempotencyKey
from core.idempotent_retries import IdempotentRetries
from core.phone_numbers import PhoneNumber, PhoneNumberRefused, prefix_of
from core.problems import IdempotencyAnswerWithheld, Problem
from core.requester import Requester
from core.secrets import Keyring
from verification.code_binding import permitted_origin
from verification.codes import TEST_KEY_ID, GuessLimits
from verification.metrics import VerificationMetrics
from verification.models import Verification
from verification.policy.challenge import ChallengeService, Solution
from verification.policy.facts import SendAttempt
from verification.problems import ChallengeRejected
from verification.profile import VerificationProfile
from verification.schemas import SendAgain, StartVerification, VerificationAnswer
from verification.secret_rotation import carry_back, carry_over
from verification.sending import Begun, CodeSender, CodeSent
from verification.settings import TestNumber, VerificationSettings
from verification.store import (
    VerificationKey,
    count_resend,
    create,
    load,
    require_resend,
    save,
    show,
)
from verification.supersession import Supersession
from verification.test_numbers import TestNumbers

RETENTION = timedelta(days=1)


@dataclass(frozen=True)
class _NewVerification:
    """A verification that is asked for: all that is known before its transaction."""

    attempt: SendAttempt
    profile: VerificationProfile
    e164: str
    test_number: TestNumber | None
    #: Digests of the number and of the requester under every accepted secret, the current one first.
    numbers: list[bytes]
    requesters: list[bytes]
    solution: Solution | ChallengeRejected | None
    supersession: Supersession
    #: Further columns of its row.
    columns: dict[str, Any]


@dataclass(frozen=True)
class VerificationService:
    """Starts and resends verifications."""

    database: Database
    settings: VerificationSettings
    keyring: Keyring
    guesses: GuessLimits
    sender: CodeSender
    challenges: ChallengeService
    test_numbers: TestNumbers
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    metrics: VerificationMetrics
    profile: VerificationProfile
    repeats: IdempotentRetries

    def start(
        self,
        body: StartVerification,
        requester: Requester,
        idempotency_key: str | None,
        profile: VerificationProfile | None = None,
        template: str | None = None,
    ) -> CodeSent:
        """Start a verification: send its first text or call.

        profile: that of a protocol adapter. template: the text to send instead of ours (texts.py).
        """
        new = self._new(body, requester, profile or self.profile, template)
        service = new.profile.service
        # A key that is a secret finds its request again from another network.
        secret = idempotency.is_secret(idempotency_key)
        route = f"start {service}" if service else "start"
        # The same request may have come before the server's secret was rotated.
        request, *older = [
            _identify(number, b"" if secret else network, route, idempotency_key, body)
            for number, network in zip(new.numbers, new.requesters, strict=True)
        ]
        while True:
            with self.database.write(adds=True) as connection:
                claimed, earlier = idempotency.claim_any(
                    connection, request, older, new.attempt.verification_nonce, new.attempt.at
                )
                begun = None if earlier else self._begin(connection, new, request)
            if begun:
                if not isinstance(begun, Problem):
                    self.metrics.verifications.labels("started").inc()
                if new.test_number:
                    self.test_numbers.record_use(new.test_number)
                with self.repeats.wake(request):
                    return self.sender.finish(begun)
            repeated = self._repeat(claimed, earlier, service)
            if repeated and not secret:
                raise IdempotencyAnswerWithheld(
                    "The request was done before. Its answer is repeated only for an Idempotency-Key of at"
                    f" least {idempotency.SECRET_KEY_LENGTH} characters; start again with such a key."
                )
            if repeated:
                return repeated

    def _new(
        self,
        body: StartVerification,
        requester: Requester,
        profile: VerificationProfile,
        template: str | None,
    ) -> _NewVerification:
        number, test_number = self._read(body.phone_number, body.region)
        if not test_number and number.kind in profile.refused_types:
            raise PhoneNumberRefused(
                "Codes are not sent to numbers of this kind here.", number_type=number.kind
            )
        origin = permitted_origin(self.settings, body)
        numbers = self.keyring.digests("number", number.e164)
        requesters = self.keyring.digests("requester", requester.network)
        now = self.clock()
        solution = self.challenges.verify(body.challenge_solution, numbers, now)
        attempt = SendAttempt(
            number_digest=numbers[0],
            verification_nonce=self.entropy(profile.nonce_size).ljust(16, b"\0"),
            network=requesters[0],
            subnet=self.keyring.digest("requester", requester.subnet) if requester.subnet else None,
            country=number.region,
            prefix=prefix_of(number.e164),
            number_type=number.kind,
            channel=body.channel,
            resend=False,
            solved=isinstance(solution, Solution),
            at=now,
        )
        columns = {
            "e164": number.e164,
            "key_id": TEST_KEY_ID if test_number else self.keyring.key_id(),
            "locale": body.locale,
            "app_hash": body.app_hash,
            "web_origin": origin,
            "service": profile.service,
            "started_by": profile.sender,
            "template": template,
            "expires_at": now + profile.lifetime,
        }
        return _NewVerification(
            attempt,
            profile,
            number.e164,
            test_number,
            numbers,
            requesters,
            solution,
            Supersession.of(numbers, body.supersedes),
            columns,
        )

    def _begin(
        self, connection: Connection, new: _NewVerification, request: IdempotencyKey | None
    ) -> Begun:
        """Store a verification and queue its first send, if the policy allows that."""
        carry_over(connection, new.numbers, new.requesters)
        attempt, profile = new.attempt, new.profile
        test_code = new.test_number.code if new.test_number else None
        length = self.guesses.code_length(
            connection, attempt.number_digest, test_code, self.clock()
        )
        permit = None
        if not test_code:
            permit = self.sender.permit(
                connection, attempt, new.e164, profile.service, new.solution, request
            )
        if isinstance(permit, Problem):
            return permit
        row = create(connection, attempt, code_length=length, **new.columns)
        return self.sender.queue(
            connection, row, permit, request, profile.send_limit, supersession=new.supersession
        )

    def read_number(self, typed: str, region: str | None) -> str:
        """Return the E.164 form of a typed number, which may be a test number.

        Raises PhoneNumberInvalid or TestNumberExpired.
        """
        return self._read(typed, region)[0].e164

    def _read(self, typed: str, region: str | None) -> tuple[PhoneNumber, TestNumber | None]:
        region = region or self.settings.default_region
        test_number = self.test_numbers.find(typed, region)
        number = test_number.number if test_number else PhoneNumber.parse(typed, region)
        return number, test_number

    def resend(
        self,
        key: VerificationKey,
        body: SendAgain,
        requester: Requester,
        idempotency_key: str | None,
    ) -> CodeSent:
        """Send a verification's code once more, by text or by call."""
        request = _identify(key.number_digest, key.nonce, "send", idempotency_key, body)
        solution = self.challenges.verify(
            body.challenge_solution, [key.number_digest], self.clock()
        )
        while True:
            now = self.clock()
            with self.database.write(adds=True) as connection:
                row = load(connection, key, lock=True)
                earlier = idempotency.claim(connection, request, key.nonce, now)
                carry_back(connection, self.keyring, row, requester)
                begun = (
                    None
                    if earlier
                    else self._begin_resend(connection, row, body, solution, request, now)
                )
            if begun:
                with self.repeats.wake(request):
                    return self.sender.finish(begun)
            repeated = self._repeat(request, earlier, key.service)
            if repeated:
                return repeated

    def _begin_resend(
        self,
        connection: Connection,
        row: Verification,
        body: SendAgain,
        solution: Solution | ChallengeRejected | None,
        request: IdempotencyKey | None,
        now: datetime,
    ) -> Begun:
        """Queue a resend, if the schedule and the policy allow it."""
        self.guesses.require_open(connection, row, now, self.profile)
        require_resend(row, body.channel, now)
        permit = None
        if row.key_id != TEST_KEY_ID:
            attempt = SendAttempt(
                number_digest=row.number_digest,
                verification_nonce=row.nonce,
                network=row.requester,
                subnet=row.subnet,
                country=row.country,
                prefix=prefix_of(row.e164),
                number_type=PhoneNumber.parse(row.e164).kind,
                channel=body.channel,
                resend=True,
                solved=isinstance(solution, Solution),
                at=now,
            )
            permit = self.sender.permit(
                connection, attempt, row.e164, row.service, solution, request
            )
        if isinstance(permit, Problem):
            return permit
        row, previous = count_resend(connection, row, body.channel, now)
        return self.sender.queue(connection, row, permit, request, previous=previous)

    def _repeat(
        self, request: IdempotencyKey | None, earlier: FirstRequest | None, service: str | None
    ) -> CodeSent | None:
        """Return the first request's answer; None if it was released and this one may go on."""
        assert request and earlier, "only a request with a key has an earlier one"
        found = self.repeats.wait(request, earlier)
        if found is None:
            return None
        key = VerificationKey(request.owner, found.subject, service)
        if found.answer is not None:
            return CodeSent(key, found.answer)
        # The process died between queueing and recording: it may have been sent, so it is not sent again.
        return CodeSent(key, self._show(key))

    def get(self, verification_id: str) -> VerificationAnswer:
        """Show a native verification."""
        return self._show(VerificationKey.parse(verification_id))

    def _show(self, key: VerificationKey) -> VerificationAnswer:
        with self.database.read() as connection:
            row = load(connection, key)
        return show(row, self.clock(), self.profile.max_checks)

    def cancel(self, verification_id: str) -> None:
        """Cancel a native verification, so that neither its code nor its proof can be used."""
        key = VerificationKey.parse(verification_id)
        with self.database.write() as connection:
            row = load(connection, key, lock=True)
            if row.used_at is None and row.status in ("pending", "verified"):
                save(connection, row, status="canceled")

    @staticmethod
    def purge(connection: Connection, now: datetime) -> int:
        """Delete a batch of verifications that ended a day ago."""
        return purge(connection, Verification, Verification.expires_at < now - RETENTION)


def _identify(
    number_digest: bytes,
    scope: bytes,
    route: str,
    idempotency_key: str | None,
    body: StartVerification | SendAgain,
) -> IdempotencyKey | None:
    if idempotency_key is None:
        return None
    return idempotency.identify(
        number_digest, scope, route, idempotency_key, body.model_dump_json()
    )
