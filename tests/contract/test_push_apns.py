"""APNs against a local service: what is sent, and what each answer means."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from messaging.push.apns import TOKEN_LIFETIME, ApnsProvider
from messaging.push.provider import PushTarget, SubscriptionGone, WakeupFailed
from tests.conftest import Clock
from tests.contract.fake_apns import FakeApns, Notification, Verdict

KEY = ec.generate_private_key(ec.SECP256R1())
TARGET = PushTarget(uuid4(), uuid4(), "0a1b2c")


@pytest.fixture
def apns() -> Iterator[FakeApns]:
    """Run the service."""
    with FakeApns() as fake:
        yield fake


@pytest.fixture
def provider(apns: FakeApns, clock: Clock) -> Iterator[ApnsProvider]:
    """Build the provider."""
    built = ApnsProvider(
        apns.url, KEY, key_id="KEY1234567", team_id="TEAM123456", topic="com.example", clock=clock
    )
    yield built
    built.close()


def issued(notification: Notification) -> float:
    """Verify the provider token; give when it was made."""
    scheme, _, token = notification.headers["authorization"].partition(" ")
    options = {"verify_iat": False}
    decoded = jwt.decode_complete(token, KEY.public_key(), ["ES256"], options=options)
    assert (scheme, decoded["header"]["kid"]) == ("bearer", "KEY1234567")
    assert decoded["payload"]["iss"] == "TEAM123456"
    return float(decoded["payload"]["iat"])


def test_a_notification_has_no_content(
    apns: FakeApns, provider: ApnsProvider, clock: Clock
) -> None:
    """For the background, collapsed, kept for a day, under the token of the team."""
    provider.wake(TARGET)

    (notification,) = apns.received
    assert notification.document == {"aps": {"content-available": 1}}
    assert notification.headers[":path"] == "/3/device/0a1b2c"
    moment = int(clock().timestamp())
    expected = {
        ":method": "POST",
        "apns-push-type": "background",
        "apns-priority": "5",
        "apns-topic": "com.example",
        "apns-collapse-id": "messages",
        "apns-expiration": str(moment + 86_400),
    }
    assert expected.items() <= notification.headers.items()
    assert issued(notification) == moment


def test_the_provider_token_is_used_for_a_while(
    apns: FakeApns, provider: ApnsProvider, clock: Clock
) -> None:
    """Apple refuses who makes a new one each time, and takes none that is an hour old."""
    for _ in range(2):
        provider.wake(TARGET)
        clock.advance(TOKEN_LIFETIME.total_seconds() - 1)
    clock.advance(1)
    provider.wake(TARGET)

    first, second, third = map(issued, apns.received)
    assert first == second < third


def test_many_share_a_connection(apns: FakeApns, provider: ApnsProvider) -> None:
    """Threads do not get each other's answers."""
    apns.verdicts.extend([Verdict(), Verdict(410, "Unregistered")] * 20)

    def wake(_: int) -> bool:
        try:
            provider.wake(TARGET)
        except SubscriptionGone:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(wake, range(40))) == 20


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (410, "Unregistered"),
        (410, "ExpiredToken"),
        (400, "BadDeviceToken"),
        (400, "DeviceTokenNotForTopic"),
    ],
)
def test_addresses_that_are_gone(
    apns: FakeApns, provider: ApnsProvider, status: int, reason: str
) -> None:
    """By Apple's word."""
    apns.verdicts.append(Verdict(status, reason))
    with pytest.raises(SubscriptionGone):
        provider.wake(TARGET)


@pytest.mark.parametrize(
    ("verdict", "outcome", "retry_after"),
    [
        (Verdict(429, "TooManyRequests", "30"), "unavailable", 30),
        (Verdict(503, "ServiceUnavailable", "soon"), "unavailable", None),
        (Verdict(500, "InternalServerError", "9" * 400), "unavailable", 3600),
        (Verdict(403, "InvalidProviderToken"), "refused", None),
        (Verdict(400, "BadTopic"), "refused", None),
        (Verdict(0), "unknown", None),
    ],
)
def test_what_fails_may_work_later(
    apns: FakeApns, provider: ApnsProvider, verdict: Verdict, outcome: str, retry_after: int | None
) -> None:
    """And the next one is sent all the same."""
    apns.verdicts.append(verdict)
    with pytest.raises(WakeupFailed) as failed:
        provider.wake(TARGET)
    assert (failed.value.outcome, failed.value.retry_after) == (outcome, retry_after)
    provider.wake(TARGET)


def test_an_expired_provider_token_is_made_anew(
    apns: FakeApns, provider: ApnsProvider, clock: Clock
) -> None:
    """The clocks may differ; the wake-up is tried again with another."""
    apns.verdicts.append(Verdict(403, "ExpiredProviderToken"))
    with pytest.raises(WakeupFailed, match="unavailable"):
        provider.wake(TARGET)
    clock.advance(60)
    provider.wake(TARGET)

    first, second = map(issued, apns.received)
    assert first < second


def test_a_service_that_is_away(clock: Clock) -> None:
    """Nothing was sent."""
    with FakeApns() as apns:
        url = apns.url
    provider = ApnsProvider(
        url, KEY, key_id="KEY1234567", team_id="TEAM123456", topic="com.example", clock=clock
    )
    with pytest.raises(WakeupFailed, match="unavailable"):
        provider.wake(TARGET)
    provider.close()
