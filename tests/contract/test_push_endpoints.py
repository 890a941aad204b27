"""The way to an endpoint that a stranger named: where it goes, and how long it may take."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from requests.exceptions import SSLError

from core.guarded_requests import GuardedAdapter
from core.host_resolver import EVERYWHERE, AddressNotAllowed, HostNotFound, HostResolver
from core.name_resolver import OTHER_TURNS
from messaging.push.provider import PushTarget, WakeupFailed
from messaging.push.vapid import Vapid
from messaging.push.web_push import WebPushProvider
from tests.contract import tls
from tests.contract.fake_http import Answer
from tests.contract.fake_push import Browser, FakePushService, decode

INSIDE = ("10.0.0.8", "127.0.0.1", "169.254.169.254", "::1", "fe80::1%eth0", "::ffff:10.0.0.8")


def provider(addresses: HostResolver) -> WebPushProvider:
    """Build one that goes where these addresses let it."""
    vapid = Vapid(ec.generate_private_key(ec.SECP256R1()), None)
    return WebPushProvider(vapid, addresses, lambda: datetime.now(UTC))


def target(browser: Browser) -> PushTarget:
    """Name a browser as it is stored."""
    body = browser.subscription()
    return PushTarget(
        uuid4(), uuid4(), browser.endpoint, decode(body["p256dh"]), decode(body["auth"])
    )


def outcome(of: Callable[[], None]) -> str:
    """Give how something failed."""
    with pytest.raises(WakeupFailed) as failed:
        of()
    return failed.value.outcome


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_that_leads_inside_by_now_is_not_gone_to(address: str) -> None:
    """It is judged when it is used: whoever put it may have changed it since."""
    asked = []

    def resolver(host: str) -> list[str]:
        asked.append(host)
        return [address]

    browser = Browser("https://push.example.com/one")
    guarded = provider(HostResolver(resolver, ()))
    assert outcome(lambda: guarded.wake(target(browser))) == "unavailable"
    assert asked == ["push.example.com"]


def test_the_address_that_was_judged_is_connected_to() -> None:
    """A name that answers differently the second time is asked once."""
    answers = iter([["127.0.0.1"]])
    with FakePushService() as service:
        url = service.url.replace("127.0.0.1", "push.example.com")
        guarded = provider(HostResolver(lambda host: next(answers), ("127.0.0.0/8",)))
        guarded.wake(target(Browser(f"{url}/push/one")))
        # The connection is kept, and nobody asks again.
        guarded.wake(target(Browser(f"{url}/push/two")))

        assert [request.path for request in service.received] == ["/push/one", "/push/two"]
        assert len({request.port for request in service.received}) == 1
        assert service.received[0].headers["Host"].startswith("push.example.com:")


def test_a_redirect_inside_is_not_followed() -> None:
    """What it points at was not judged."""
    with FakePushService() as service, FakePushService() as inside:
        service.next(Answer(307, headers={"Location": f"{inside.url}/push/one"}))
        guarded = provider(HostResolver(lambda host: [host], EVERYWHERE))
        wake = target(service.browser())
        assert outcome(lambda: guarded.wake(wake)) == "refused"
        assert inside.received == []


def test_the_certificate_is_for_the_name_that_was_asked_for() -> None:
    """Connecting to an address does not make it the name of the host."""
    with FakePushService(tls.server_context()) as service:
        session = requests.Session()
        session.mount(
            "https://", GuardedAdapter(HostResolver(lambda _: ["127.0.0.1"], EVERYWHERE), 5, 1)
        )
        url = service.url.replace("127.0.0.1", "push.example.com")
        with pytest.raises(SSLError, match="match"):
            session.post(url, verify=str(tls.CERTIFICATE), timeout=5)
        assert service.received == []


def test_an_endpoint_that_dribbles_is_given_up() -> None:
    """Each byte comes in time, and all of them never would."""
    listening = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def dribble() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 201 Created\r\n")
            while not stop.wait(0.02):
                try:
                    connection.sendall(b"X")
                except OSError:
                    return

    thread = threading.Thread(target=dribble)
    thread.start()
    session = requests.Session()
    session.mount("http://", GuardedAdapter(HostResolver(lambda host: [host], EVERYWHERE), 0.3, 1))
    with pytest.raises(requests.RequestException):
        session.post(f"http://127.0.0.1:{listening.getsockname()[1]}/", timeout=5)
    stop.set()
    thread.join()
    listening.close()


def test_slow_name_servers_hold_up_only_each_other() -> None:
    """However many: names that were quick have turns of their own, and nobody waits for long."""
    asked, go_on = [], threading.Event()

    def resolver(host: str) -> list[str]:
        asked.append(host)
        if host.startswith("slow"):
            go_on.wait()
        return ["93.184.215.14"]

    def fails(host: str) -> None:
        with pytest.raises(HostNotFound):
            addresses.resolve(host)

    addresses = HostResolver(resolver, (), patience=0.1)
    known = [f"push{n}.example" for n in range(3)]
    for host in known:
        addresses.resolve(host)
    threads = [threading.Thread(target=fails, args=(f"slow{n % 8}.example",)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    slow = [host for host in asked if host.startswith("slow")]
    assert len(slow) == len(set(slow)) == OTHER_TURNS
    for host in known:
        assert str(addresses.resolve(host)) == "93.184.215.14"
    fails("new.example")
    assert str(addresses.resolve("93.184.215.14")) == "93.184.215.14"
    go_on.set()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(HostNotFound):
            assert str(addresses.resolve("new.example")) == "93.184.215.14"
            return
    raise AssertionError("turns are not given back")


def test_a_name_that_fails_does_so_each_time() -> None:
    """And gives its turn back."""

    def resolver(host: str) -> list[str]:
        raise OSError

    addresses = HostResolver(resolver, ())
    for _ in range(3 * OTHER_TURNS):
        with pytest.raises(HostNotFound):
            addresses.resolve("none.example")


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "fd20:ce::254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_metadata_of_clouds_is_never_gone_to(address: str) -> None:
    """Not even where everything else is allowed, and whatever carries the address."""
    for allowed in (EVERYWHERE, ("169.254.0.0/16",)):
        with pytest.raises(AddressNotAllowed):
            HostResolver(lambda _: [address], allowed).resolve("name.example")


@pytest.mark.parametrize(
    "address",
    [
        "192.88.99.1",
        "192.0.0.1",
        "192.0.0.9",
        "3fff::1",
        "3fff:fff:ffff::1",
        "::ffff:192.88.99.1",
        "2002:c058:6301::1",
    ],
)
def test_networks_without_hosts_are_not_public(address: str) -> None:
    """In any version of Python; whoever runs one may allow it."""
    with pytest.raises(AddressNotAllowed):
        HostResolver(lambda _: [address], ()).resolve("name.example")
    assert HostResolver(lambda _: [address], EVERYWHERE).resolve("name.example")


def test_other_ports_are_not_gone_to() -> None:
    """A subscription from before the setting is not either."""
    with FakePushService() as service:
        session = requests.Session()
        adapter = GuardedAdapter(
            HostResolver(lambda host: [host], EVERYWHERE), 5, 1, frozenset({443})
        )
        session.mount("http://", adapter)
        with pytest.raises(requests.ConnectionError, match="port"):
            session.post(f"{service.url}/push/one", timeout=5)
        assert service.received == []


def test_endpoints_are_not_logged(all_logged: Callable[[], str]) -> None:
    """Who knows an endpoint can wake the device."""
    with FakePushService() as service:
        service.next(Answer(403), Answer(drop=True))
        guarded = provider(HostResolver(lambda host: [host], EVERYWHERE))
        secret = target(service.browser("a-capability"))
        for expected in ("refused", "unknown"):
            assert outcome(lambda: guarded.wake(secret)) == expected
    assert "a-capability" not in repr(secret)
    logged = all_logged()
    assert "push.refused" in logged
    assert '"level": "warning"' in logged
