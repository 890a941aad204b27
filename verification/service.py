"""Verifications: start, send again, show, cancel.

Owns the order of things: a request is claimed, the policy counts and judges it, its send is queued, all in
one transaction that ends before any provider is called.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core import idempotency
from core.database import Database, purge
from core.idempotency import Earlier, IdempotencyKey
from core.metrics import Metrics
from core.phone_numbers import PhoneNumber, PhoneNumberRefused, prefix_of
from core.problems import Problem
from core.requester import Requester
from core.secrets import Keyring
from core.settings import Settings
from sms.routing import Route
from sms.service import SendService
from verification.checks import CheckService
from verification.codes import FIXED
from verification.models import Verification
from verification.policy.challenge import ChallengeService, Solution
from verification.policy.facts import Attempt
from verification.policy.service import PolicyService, Ruling
from verification.problems import (
    AppHashRefused,
    ChallengeRejected,
    NoSendsLeft,
    SendTooSoon,
    WebOriginRefused,
)
from verification.schemas import Channel, SendAgain, StartVerification, VerificationAnswer
from verification.sending import Before, CodeSender, carry_over
from verification.sessions import (
    Answered,
    VerificationKey,
    history,
    load,
    require_pending,
    save,
    show,
    store,
)
from verification.terms import Terms
from verification.test_numbers import FixedCodes

KEPT = timedelta(days=1)


class VerificationService:
    """Proves numbers."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        keyring: Keyring,
        checks: CheckService,
        sender: CodeSender,
        sends: SendService,
        policy: PolicyService,
        challenges: ChallengeService,
        fixed_codes: FixedCodes,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._settings = settings
        self._keyring = keyring
        self._checks = checks
        self._sender = sender
        self._sends = sends
        self._policy = policy
        self._challenges = challenges
        self._fixed_codes = fixed_codes
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._most_checks = settings.checks_per_verification
        self._terms = Terms.open_to_all(settings)

    def start(
        self,
        body: StartVerification,
        requester: Requester,
        idempotency_key: str | None,
        terms: Terms | None = None,
        template: str | None = None,
    ) -> Answered:
        """Start proving a number: send its first text or call.

        `terms` are those of another door; `template` is what its text says instead of ours, see
        verification/templates.py.
        """
        terms = terms or self._terms
        region = body.region or self._settings.default_region
        fixed = self._fixed_codes.find(body.phone_number, region)
        number = fixed.number if fixed else PhoneNumber.parse(body.phone_number, region)
        if not fixed and number.kind in terms.refused_types:
            raise PhoneNumberRefused(
                "Codes are not sent to numbers of this kind here.", number_type=number.kind
            )
        origin = self._permitted_origin(body)
        requesters = self._keyring.digests("requester", requester.network)
        owners = list(zip(self._keyring.digests("number", number.e164), requesters, strict=True))
        wider = self._keyring.digest("requester", requester.wider) if requester.wider else None
        now = self._clock()
        solution = self._challenges.judge(body.challenge_solution, [of for of, _ in owners], now)
        attempt = Attempt(
            number_digest=owners[0][0],
            verification=self._entropy(terms.nonce_size).ljust(16, b"\0"),
            network=requesters[0],
            wider=wider,
            country=number.region,
            prefix=prefix_of(number.e164),
            number_type=number.kind,
            channel=body.channel,
            resend=False,
            solved=isinstance(solution, Solution),
            at=now,
        )
        # The same request may have come before the server's secret was rotated.
        request, *before = [_identify(of, by, "start", idempotency_key, body) for of, by in owners]
        refusal: Problem | None = None
        while True:
            with self._database.write() as connection:
                asked, earlier = idempotency.claim_over(
                    connection, request, before, attempt.verification, now
                )
                if earlier is None:
                    carry_over(connection, self._keyring, number.e164, requesters)
                    code_length = self._checks.code_length(
                        connection, attempt.number_digest, len(fixed.code) if fixed else None
                    )
                    if not fixed:
                        route = self._sends.route(connection, number.region, body.channel)
                        ruling = self._permit(connection, attempt, route, solution, request)
                        refusal = ruling.problem
                    if refusal is None:
                        row = store(
                            connection,
                            attempt,
                            e164=number.e164,
                            key_id=FIXED if fixed else self._keyring.key_id(),
                            locale=body.locale,
                            app_hash=body.app_hash,
                            web_origin=origin,
                            expires_at=now + terms.lifetime,
                            code_length=code_length,
                            service=terms.service,
                            template=template,
                        )
                        if fixed:
                            unsent = self._sender.conclude(connection, row, request, owners)
                        else:
                            pending = self._sender.queue(
                                connection, row, terms.sends, request, route, ruling, owners=owners
                            )
            if earlier is None:
                if refusal:
                    raise refusal
                self._metrics.verifications.labels("started").inc()
                if fixed:
                    self._fixed_codes.used(fixed)
                    return unsent
                return self._sender.hand_over(pending)
            answered = self._answered(asked, earlier)
            if answered:
                return answered

    def _permit(
        self,
        connection: Connection,
        attempt: Attempt,
        route: Route,
        solution: Solution | ChallengeRejected | None,
        request: IdempotencyKey | None,
    ) -> Ruling:
        """Ask the policy, which reserves the dearest price of the route.

        What it refuses may be asked again with the same key and a solution.
        """
        if isinstance(solution, ChallengeRejected):
            # Not before now: a request that was answered already gets its answer, however old.
            raise solution
        ruling = self._policy.judge(
            connection, replace(attempt, price_micros=route.dearest), solution
        )
        if ruling.problem and request:
            idempotency.release(connection, request)
        return ruling

    def _permitted_origin(self, body: StartVerification) -> str | None:
        """Give the host of the web origin, if the operator allows it and the app hash.

        An empty list allows any in development and none in production.
        """
        settings = self._settings
        open_to_any = settings.environment == "development"
        origin = body.web_origin and body.web_origin.removeprefix("https://")
        hosts, hashes = settings.web_origins, settings.android_app_hashes
        if origin and origin not in hosts and (hosts or not open_to_any):
            raise WebOriginRefused("The operator lists allowed hosts in KITH_WEB_ORIGINS.")
        if body.app_hash and body.app_hash not in hashes and (hashes or not open_to_any):
            raise AppHashRefused("The operator lists allowed hashes in KITH_ANDROID_APP_HASHES.")
        return origin

    def send_again(
        self, verification_id: str, body: SendAgain, idempotency_key: str | None
    ) -> Answered:
        """Send a verification's code once more, by text or by call."""
        key = VerificationKey.parse(verification_id)
        request = _identify(key.number_digest, key.nonce, "send", idempotency_key, body)
        solution = self._challenges.judge(
            body.challenge_solution, [key.number_digest], self._clock()
        )
        while True:
            now = self._clock()
            with self._database.write() as connection:
                row = load(connection, key, lock=True)
                earlier = idempotency.claim(connection, request, key.nonce, now)
                if earlier is None:
                    require_pending(row, now, self._most_checks)
                    _require_step(row, body.channel, now)
                    if row.key_id == FIXED:
                        row, _ = _climb(connection, row, body.channel, now)
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
                    route = self._sends.route(connection, row.country, body.channel)
                    ruling = self._permit(connection, attempt, route, solution, request)
                    if ruling.problem is None:
                        row, before = _climb(connection, row, body.channel, now)
                        pending = self._sender.queue(
                            connection, row, None, request, route, ruling, before
                        )
            if earlier is None:
                if ruling.problem:
                    raise ruling.problem
                return self._sender.hand_over(pending)
            answered = self._answered(request, earlier)
            if answered:
                return answered

    def _answered(self, request: IdempotencyKey | None, earlier: Earlier) -> Answered | None:
        """Give the first request's answer; None when nothing came of it and it is ours to do."""
        assert request is not None, "only a request with a key has an earlier one"
        found = idempotency.wait(self._database, request, earlier, self._clock)
        if found is None:
            return None
        if found.answer is not None:
            return Answered(found.answer)
        # The process died between queueing and recording: it may have been sent, so it stays so.
        with self._database.read() as connection:
            row = load(connection, VerificationKey(request.owner, found.subject))
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
        return purge(connection, Verification, Verification.expires_at < now - KEPT)


def _require_step(row: Verification, channel: Channel, now: datetime) -> None:
    """Refuse a resend that the ladder does not hold, or not yet."""
    wait = history(row).seconds_until(channel, now)
    if wait is None:
        raise NoSendsLeft("Wait for what was sent, or start a new verification later.")
    if wait > 0:
        raise SendTooSoon(f"The next one comes in {wait} seconds.", retry_after=wait)


def _climb(
    connection: Connection, row: Verification, channel: Channel, now: datetime
) -> tuple[Verification, Before]:
    """Take the next step of the ladder; give the row, and what the step replaces."""
    if channel == "sms":
        counts: dict[str, object] = {"sms_count": row.sms_count + 1, "last_sms_at": now}
        before = Before(row.channel, row.last_sms_at)
    else:
        counts = {"call_count": row.call_count + 1, "last_call_at": now}
        before = Before(row.channel, row.last_call_at)
    return save(connection, row, channel=channel, **counts), before


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
