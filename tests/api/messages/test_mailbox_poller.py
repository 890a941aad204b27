"""The mailbox poller, where notifications are lost."""

import threading
from uuid import UUID

import pytest
from sqlalchemy.exc import OperationalError

from messaging.message_types import CloseCode
from tests.conftest import problem_code

#: Far longer than any test may take.
LONG = 20


class Listener:
    """Counts its wake-ups and records why it was closed."""

    def __init__(self):
        self.woken, self.why, self.through = 0, [], []
        self.told = threading.Event()

    def on_stored(self, deliveries):
        """Count."""
        self.woken += 1
        self.told.set()

    def on_acknowledged(self, through):
        """Keep how far."""
        self.through.append(through)

    def close(self, why):
        """Keep why."""
        self.why.append(why)


@pytest.fixture
def kith(app):
    """The services."""
    return app.extensions["kith"]


@pytest.fixture
def listening(kith, ben):
    """Ben listens with the token he has, and is not told what is stored."""
    listener = Listener()
    token = kith.tokens.device_tokens.authenticate(ben.token).token_hash
    with kith.messaging.registry.register(UUID(ben.device_id), listener, token):
        yield listener


@pytest.fixture
def lost(kith, monkeypatch):
    """Notifications are lost."""
    monkeypatch.setattr(kith.messaging.registry, "notify_stored", lambda *_: None)


@pytest.mark.usefixtures("lost")
def test_what_was_not_told_is_found(kith, ben, listening, send, acknowledge):
    """Something in the mailbox wakes its listener once, and nothing does when all is known."""
    kith.messaging.mailbox_poller.poll()
    assert listening.woken == 0
    send(ben)
    kith.messaging.mailbox_poller.poll()
    kith.messaging.mailbox_poller.poll([UUID(ben.device_id), UUID(int=7)])
    assert listening.woken == 1
    send(ben)
    acknowledge(ben, 2)
    kith.messaging.mailbox_poller.poll()
    assert (listening.woken, listening.why) == (1, [])
    # Said once, when the acknowledgement itself was not told.
    kith.messaging.mailbox_poller.poll()
    assert listening.through == [2, 2]


def test_many_listeners(kith, ben, link, listening, send, monkeypatch):
    """All of them are looked for, in as many statements as it takes."""
    kith.messaging.mailbox_poller.batch_size = 1
    other, device = Listener(), link(ben)
    with kith.messaging.registry.register(UUID(device.device_id), other):
        monkeypatch.setattr(kith.messaging.registry, "notify_stored", lambda *_: None)
        assert send(ben, ben, device).status_code == 202
        kith.messaging.mailbox_poller.poll()
    assert (listening.woken, other.woken) == (1, 1)


def test_a_device_that_is_gone(kith, client, ben, listening, monkeypatch):
    """Who listens for a removed device is ended, if nothing else told."""
    monkeypatch.setattr(kith.messaging.registry, "close", lambda *_: None)
    client.delete("/v1/account", headers=ben.headers)
    kith.messaging.mailbox_poller.poll()
    assert listening.why == [CloseCode.REVOKED]


def test_a_token_that_was_replaced(kith, client, ben, listening, monkeypatch):
    """Who listens with a token is ended once a newer one is in use, and not before."""
    monkeypatch.setattr(kith.messaging.registry, "close", lambda *_: None)
    newer = client.post("/v1/tokens/rotate", headers=ben.headers).json["device_token"]
    kith.messaging.mailbox_poller.poll()
    assert listening.why == []
    kith.tokens.device_tokens.authenticate(newer)
    kith.messaging.mailbox_poller.poll()
    assert listening.why == [CloseCode.TOKEN_REPLACED]


def test_a_token_that_was_revoked(kith, ben, listening, monkeypatch):
    """Whose tokens were revoked by another process, such as the operator's command, is ended."""
    monkeypatch.setattr(kith.messaging.registry, "close", lambda *_: None)
    with kith.runtime.database.write() as connection:
        assert kith.tokens.revocations.revoke(connection, UUID(ben.account_id), UUID(ben.device_id))
    kith.messaging.mailbox_poller.poll()
    assert listening.why == [CloseCode.REVOKED]


@pytest.mark.usefixtures("lost")
def test_it_goes_on(kith, ben, listening, send, monkeypatch):
    """In its thread it looks when asked and by itself, also after the database was away."""
    kith.messaging.mailbox_poller.interval_seconds = 0.02
    poller, failed = kith.messaging.mailbox_poller, threading.Event()
    read = poller._read

    def away(chunk):
        failed.set()
        raise OperationalError("SELECT", {}, Exception("away"))

    monkeypatch.setattr(kith.messaging.mailbox_poller, "_read", away)
    kith.messaging.mailbox_poller.start()
    try:
        kith.messaging.mailbox_poller.request(UUID(ben.device_id))
        assert failed.wait(LONG)
        monkeypatch.setattr(kith.messaging.mailbox_poller, "_read", read)
        send(ben)
        assert listening.told.wait(LONG)
    finally:
        kith.messaging.mailbox_poller.stop()


def test_revocation_is_told(client, ben, listening, kith, clock):
    """Each way in which a device or a token ends, ends who listens, at once."""
    newer = client.post("/v1/tokens/rotate", headers=ben.headers).json["device_token"]
    assert listening.why == []
    caller = kith.tokens.device_tokens.authenticate(newer)
    assert listening.why == [CloseCode.TOKEN_REPLACED]
    listener = Listener()
    with kith.messaging.registry.register(caller.device_id, listener, caller.token_hash):
        kith.tokens.device_tokens.authenticate(newer)
        late = client.get("/v1/account", headers=ben.headers)
        assert problem_code(late) == "token-invalid"
        assert listener.why == []
        clock.advance(61)
        refused = client.get("/v1/account", headers=ben.headers)
        assert problem_code(refused) == "token-reused"
        assert listener.why == [CloseCode.REVOKED]


@pytest.mark.parametrize("how", ["removed", "registered again", "deleted"])
def test_a_device_that_ends(client, ben, listening, register, how):
    """Removed, replaced by a new registration or deleted with its account: nobody listens for it."""
    if how == "removed":
        client.delete(f"/v1/devices/{ben.device_id}", headers=ben.headers)
    elif how == "registered again":
        register(ben.phone_number)
    else:
        client.delete("/v1/account", headers=ben.headers)
    assert listening.why == [CloseCode.REVOKED]
