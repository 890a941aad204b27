"""Verifications: start, send again, show, cancel.

Owns who may ask for a text to which number, and how often. Each limit is counted before it is judged,
in one transaction that ends before any provider is called.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core import idempotency
from core.database import Database, purge
from core.idempotency import Earlier, IdempotencyKey
from core.limits import Limits
from core.metrics import Metrics
from core.phone_numbers import PhoneNumber
from core.secrets import Keyring
from core.settings import Settings
from verification.checks import CheckService
from verification.models import Verification
from verification.problems import (
    AppHashRefused,
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

KEPT = timedelta(days=1)


class VerificationService:
    """Proves numbers."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        keyring: Keyring,
        rules: Limits,
        checks: CheckService,
        sender: CodeSender,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._settings = settings
        self._keyring = keyring
        self._checks = checks
        self._sender = sender
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._most_checks = settings.checks_per_verification
        self._terms = Terms.open_to_all(settings, rules)

    def start(
        self,
        body: StartVerification,
        requester: str,
        idempotency_key: str | None,
        terms: Terms | None = None,
        template: str | None = None,
    ) -> Answered:
        """Start proving a number: send its first text or call.

        `terms` are those of another door; `template` is what its text says instead of ours, see
        verification/templates.py.
        """
        settings, terms = self._settings, terms or self._terms
        number = PhoneNumber.parse(body.phone_number, body.region or settings.default_region)
        number.refuse(settings.refused_number_types)
        origin = self._permitted_origin(body)
        requesters = self._keyring.digests("requester", requester)
        owners = list(zip(self._keyring.digests("number", number.e164), requesters, strict=True))
        nonce = self._entropy(terms.nonce_size).ljust(16, b"\0")
        key = VerificationKey(owners[0][0], nonce, terms.service)
        now = self._clock()
        # The same request may have come before the server's secret was rotated.
        request, *before = [_identify(of, by, "start", idempotency_key, body) for of, by in owners]
        while True:
            with self._database.write() as connection:
                asked, earlier = idempotency.claim_over(connection, request, before, key.nonce, now)
                if earlier is None:
                    carry_over(connection, self._keyring, number.e164, requesters)
                    row = store(
                        connection,
                        number_digest=key.number_digest,
                        nonce=key.nonce,
                        e164=number.e164,
                        requester=requesters[0],
                        status="pending",
                        channel=body.channel,
                        key_id=self._keyring.key_id(),
                        checks_used=0,
                        sms_count=1 if body.channel == "sms" else 0,
                        call_count=1 if body.channel == "voice" else 0,
                        last_sms_at=now if body.channel == "sms" else None,
                        last_call_at=now if body.channel == "voice" else None,
                        locale=body.locale,
                        app_hash=body.app_hash,
                        web_origin=origin,
                        service=key.service,
                        template=template,
                        created_at=now,
                        expires_at=now + terms.lifetime,
                        reregistered=False,
                        code_length=self._checks.code_length(connection, key.number_digest),
                    )
                    pending = self._sender.queue(
                        connection, row, terms.sends, request, owners=owners
                    )
            if earlier is None:
                self._metrics.verifications.labels("started").inc()
                return self._sender.hand_over(pending)
            answered = self._answered(asked, earlier)
            if answered:
                return answered

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
        while True:
            now = self._clock()
            with self._database.write() as connection:
                row = load(connection, key, lock=True)
                earlier = idempotency.claim(connection, request, key.nonce, now)
                if earlier is None:
                    require_pending(row, now, self._most_checks)
                    row, before = _climb(connection, row, body.channel, now)
                    pending = self._sender.queue(
                        connection, row, self._terms.sends, request, before
                    )
            if earlier is None:
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


def _climb(
    connection: Connection, row: Verification, channel: Channel, now: datetime
) -> tuple[Verification, Before]:
    """Take the next step of the ladder; give the row, and what the step replaces."""
    wait = history(row).seconds_until(channel, now)
    if wait is None:
        raise NoSendsLeft("Wait for what was sent, or start a new verification later.")
    if wait > 0:
        raise SendTooSoon(f"The next one comes in {wait} seconds.", retry_after=wait)
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
