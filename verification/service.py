"""Verifications: start, send again, show, cancel.

Owns the order of things: a request is claimed, the policy counts and judges it, its send is queued, all in
one transaction that ends before any provider is called.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection

from core import idempotency
from core.database import Database, purge
from core.idempotency import Earlier, IdempotencyKey
from core.metrics import Metrics
from core.phone_numbers import PhoneNumber, PhoneNumberRefused, prefix_of
from core.problems import IdempotencyAnswerWithheld, Problem
from core.repeats import Repeats
from core.requester import Requester
from core.secrets import Keyring
from core.test_numbers import TestNumber
from verification.checks import CheckService
from verification.code_binding import permitted_origin
from verification.codes import FIXED
from verification.models import Verification
from verification.policy.challenge import ChallengeService, Solution
from verification.policy.facts import Attempt
from verification.problems import ChallengeRejected
from verification.profile import VerificationProfile
from verification.schemas import SendAgain, StartVerification, VerificationAnswer
from verification.sending import Begun, CodeSender, carry_back, carry_over
from verification.settings import VerificationSettings
from verification.store import (
    Answered,
    VerificationKey,
    climb,
    load,
    require_pending,
    require_step,
    save,
    show,
    store,
)
from verification.supersession import Supersession
from verification.test_numbers import TestNumbers

RETENTION = timedelta(days=1)


class VerificationService:
    """Proves numbers."""

    def __init__(
        self,
        database: Database,
        settings: VerificationSettings,
        keyring: Keyring,
        checks: CheckService,
        sender: CodeSender,
        challenges: ChallengeService,
        fixed_codes: TestNumbers,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._settings = settings
        self._keyring = keyring
        self._checks = checks
        self._sender = sender
        self._challenges = challenges
        self._fixed_codes = fixed_codes
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._repeats = Repeats(database, clock)
        self._most_checks = settings.checks_per_verification
        self._terms = VerificationProfile.open_to_all(settings)

    def start(
        self,
        body: StartVerification,
        requester: Requester,
        idempotency_key: str | None,
        terms: VerificationProfile | None = None,
        template: str | None = None,
    ) -> Answered:
        """Start proving a number: send its first text or call.

        `terms` are those of another door; `template` is what its text says instead of ours, see
        verification/templates.py.
        """
        terms = terms or self._terms
        number, fixed = self._number(body, terms)
        origin = permitted_origin(self._settings, body)
        requesters = self._keyring.digests("requester", requester.network)
        owners = list(zip(self._keyring.digests("number", number.e164), requesters, strict=True))
        now = self._clock()
        solution = self._challenges.judge(body.challenge_solution, [of for of, _ in owners], now)
        attempt = Attempt(
            number_digest=owners[0][0],
            verification=self._entropy(terms.nonce_size).ljust(16, b"\0"),
            network=requesters[0],
            wider=self._keyring.digest("requester", requester.wider) if requester.wider else None,
            country=number.region,
            prefix=prefix_of(number.e164),
            number_type=number.kind,
            channel=body.channel,
            resend=False,
            solved=isinstance(solution, Solution),
            at=now,
        )
        columns: dict[str, Any] = {
            "e164": number.e164,
            "key_id": FIXED if fixed else self._keyring.key_id(),
            "locale": body.locale,
            "app_hash": body.app_hash,
            "web_origin": origin,
            "service": terms.service,
            "started_by": terms.sender,
            "template": template,
            "expires_at": now + terms.lifetime,
        }

        supersession = Supersession.of([of for of, _ in owners], body.supersedes)

        def begin(connection: Connection, request: IdempotencyKey | None) -> Begun:
            carry_over(connection, self._keyring, number.e164, requesters)
            length = self._checks.code_length(
                connection, attempt.number_digest, len(fixed.code) if fixed else None
            )
            if fixed:
                row = store(connection, attempt, code_length=length, **columns)
                return self._sender.conclude(connection, row, request, supersession)
            permit = self._sender.permit(
                connection, attempt, number.e164, terms.service, solution, request
            )
            if isinstance(permit, Problem):
                return permit
            row = store(connection, attempt, code_length=length, **columns)
            return self._sender.queue(
                connection, row, permit, request, terms.sends, supersession=supersession
            )

        # The same request may have come before the server's secret was rotated.
        # A key that is a secret finds it again from another network.
        secret = idempotency.is_secret(idempotency_key)
        route = f"start {terms.service}" if terms.service else "start"
        request, *before = [
            _identify(of, b"" if secret else by, route, idempotency_key, body) for of, by in owners
        ]
        while True:
            with self._database.write(adds=True) as connection:
                asked, earlier = idempotency.claim_over(
                    connection, request, before, attempt.verification, now
                )
                begun = None if earlier else begin(connection, request)
            if begun:
                if not isinstance(begun, Problem):
                    self._metrics.verifications.labels("started").inc()
                if fixed:
                    self._fixed_codes.used(fixed)
                with self._repeats.wake(request):
                    return self._sender.finish(begun)
            repeated = self._answered(asked, earlier, terms.service)
            if repeated and not secret:
                raise IdempotencyAnswerWithheld(
                    "Its text or call was asked for before. Only an Idempotency-Key of at least"
                    f" {idempotency.SECRET_KEY_LENGTH} characters is told the answer again; start anew"
                    " with one."
                )
            if repeated:
                return repeated

    def _number(
        self, body: StartVerification, terms: VerificationProfile
    ) -> tuple[PhoneNumber, TestNumber | None]:
        """Read the number, and its fixed code if it is a test number."""
        number, fixed = self._read(body.phone_number, body.region)
        if not fixed and number.kind in terms.refused_types:
            raise PhoneNumberRefused(
                "Codes are not sent to numbers of this kind here.", number_type=number.kind
            )
        return number, fixed

    def read_number(self, typed: str, region: str | None) -> str:
        """Give the E.164 form of a typed number, which may be a test number.

        Raises PhoneNumberInvalid or TestNumberExpired.
        """
        return self._read(typed, region)[0].e164

    def _read(self, typed: str, region: str | None) -> tuple[PhoneNumber, TestNumber | None]:
        region = region or self._settings.default_region
        fixed = self._fixed_codes.find(typed, region)
        return (fixed.number if fixed else PhoneNumber.parse(typed, region)), fixed

    def send_again(
        self,
        verification_id: str,
        body: SendAgain,
        requester: Requester,
        idempotency_key: str | None,
        service: str | None = None,
    ) -> Answered:
        """Send a verification's code once more, by text or by call.

        `service` is whose verification it is, at another door.
        """
        key = replace(VerificationKey.parse(verification_id), service=service)
        request = _identify(key.number_digest, key.nonce, "send", idempotency_key, body)
        solution = self._challenges.judge(
            body.challenge_solution, [key.number_digest], self._clock()
        )
        while True:
            now = self._clock()
            with self._database.write(adds=True) as connection:
                row = load(connection, key, lock=True)
                earlier = idempotency.claim(connection, request, key.nonce, now)
                carry_back(connection, self._keyring, row, requester)
                begun = (
                    None if earlier else self._again(connection, row, body, solution, request, now)
                )
            if begun:
                with self._repeats.wake(request):
                    return self._sender.finish(begun)
            repeated = self._answered(request, earlier, service)
            if repeated:
                return repeated

    def _again(
        self,
        connection: Connection,
        row: Verification,
        body: SendAgain,
        solution: Solution | ChallengeRejected | None,
        request: IdempotencyKey | None,
        now: datetime,
    ) -> Begun:
        """Take the next step of a verification's ladder, if it and the policy allow that."""
        wait = partial(self._checks.next_start_in, connection, row, now, None)
        require_pending(row, now, self._most_checks, wait)
        require_step(row, body.channel, now)
        if row.key_id == FIXED:
            row, _ = climb(connection, row, body.channel, now)
            return self._sender.conclude(connection, row, request)
        attempt = Attempt(
            number_digest=row.number_digest,
            verification=row.nonce,
            network=row.requester,
            wider=row.wider,
            country=row.country,
            prefix=prefix_of(row.e164),
            number_type=PhoneNumber.parse(row.e164).kind,
            channel=body.channel,
            resend=True,
            solved=isinstance(solution, Solution),
            at=now,
        )
        permit = self._sender.permit(connection, attempt, row.e164, row.service, solution, request)
        if isinstance(permit, Problem):
            return permit
        row, before = climb(connection, row, body.channel, now)
        return self._sender.queue(connection, row, permit, request, before=before)

    def _answered(
        self, request: IdempotencyKey | None, earlier: Earlier | None, service: str | None
    ) -> Answered | None:
        """Give the first request's answer; None when nothing came of it and it is ours to do."""
        assert request and earlier, "only a request with a key has an earlier one"
        found = self._repeats.wait(request, earlier)
        if found is None:
            return None
        if found.answer is not None:
            return Answered(found.answer)
        # The process died between queueing and recording: it may have been sent, so it stays so.
        with self._database.read() as connection:
            row = load(connection, VerificationKey(request.owner, found.subject, service))
        return Answered(show(row, self._clock(), self._most_checks).model_dump_json())

    def get(self, verification_id: str) -> VerificationAnswer:
        """Show a verification."""
        key = VerificationKey.parse(verification_id)
        with self._database.read() as connection:
            row = load(connection, key)
        return show(row, self._clock(), self._most_checks)

    def cancel(self, verification_id: str) -> None:
        """Close a verification, so that its code and its proof are good for nothing."""
        key = VerificationKey.parse(verification_id)
        with self._database.write() as connection:
            row = load(connection, key, lock=True)
            if row.used_at is None and row.status in ("pending", "verified"):
                save(connection, row, status="canceled")

    @staticmethod
    def purge(connection: Connection, now: datetime) -> int:
        """Delete a batch of verifications, a day after their time was over."""
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
