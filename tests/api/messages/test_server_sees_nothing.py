"""After a conversation neither the database nor any log has a word of it, nor any private key."""

import base64

import httpx
import msgspec
import pytest
from sqlalchemy import MetaData, select

from kith import Kith
from kith.messaging.history import Entry
from kith.messaging.keys import (
    Identity,
    LastResortSecret,
    OneTimeKemSecret,
    OneTimeSecret,
    SignedSecret,
)
from kith.messaging.messenger import Messenger
from kith.messaging.sessions import Peer
from kith.messaging.store import Store
from kith.messaging.store_encryption import UnlockMethod

ANNA, BEN, CARLA = "+4915112345601", "+4915112345602", "+4915112345603"
TEXTS = [
    "The treasure is under the old oak",
    "Bring a shovel and nothing else",
    "Whisper when you are among strangers",
    "Scatter the ashes afterwards",
]
WORDS = (b"treasure", b"shovel", b"Whisper", b"ashes")
SECRETS = (SignedSecret, LastResortSecret, OneTimeSecret, OneTimeKemSecret)


@pytest.fixture
def app(make_app):
    """The application, whose log says everything."""
    return make_app(log_level="debug")


@pytest.fixture
def messenger(app, tmp_path):
    """Make the messenger of a device."""
    stores = []

    def make(account_id, device_id, token):
        kith = Kith("http://kith.test", token, transport=httpx.WSGITransport(app))
        unlocking = UnlockMethod(tmp_path / f"{device_id}.key")
        stores.append(Store(tmp_path / f"{device_id}.db", unlocking))
        made = Messenger(kith, stores[-1], account_id, device_id)
        made.kith, made.store = kith, stores[-1]
        made.prepare()
        return made

    yield make
    for store in stores:
        store.close()


@pytest.mark.slow
def test_the_server_sees_nothing(app, register, link, messenger, capfd, tmp_path):
    """Two people, three devices, receipts, a request, a group: the service has ciphertext only."""
    accounts = {number: register(number) for number in (ANNA, BEN, CARLA)}
    anna, ben, carla = (
        messenger(person.account_id, person.device_id, person.token) for person in accounts.values()
    )
    joined = link(accounts[ANNA])
    token = joined.headers["Authorization"].removeprefix("Bearer ")
    laptop = messenger(joined.account_id, joined.device_id, token)
    anna.fetch_identities(joined.account_id)
    anna.accounts.accept(joined.account_id)
    of = {number: person.account_id for number, person in accounts.items()}

    anna.send(of[BEN], TEXTS[0])
    received = ben.receive()
    ben.send(of[ANNA], TEXTS[1])
    ben.mark_shown(received, send_receipts=True)
    ben.flush()
    carla.kith.accept(of[ANNA])
    ben.kith.accept(of[ANNA])
    group = anna.kith.create_group("Picnic", [of[BEN], of[CARLA]])
    anna.send(group.id, TEXTS[2], is_group=True)
    laptop.receive()
    laptop.send(group.id, TEXTS[3], is_group=True)
    for device in (ben, carla, anna):
        device.receive()

    # It was a conversation: everybody has read what was for her, though some still waits.
    kept = [{entry.text for entry in one.store.all(Entry)} for one in (anna, ben, carla, laptop)]
    assert kept == [set(TEXTS), set(TEXTS), set(TEXTS[2:]), set(TEXTS)]
    ben.send(of[ANNA], TEXTS[0])

    needles = [text.encode() for text in TEXTS] + list(WORDS)
    for device in (anna, ben, carla, laptop):
        needles += _private(device.store)
    rows = _everything(app.extensions["kith"].runtime.database)
    assert len(needles) > 800
    assert sum(map(len, rows)) > 100_000
    logged = "".join(capfd.readouterr()).encode()
    assert b"/v1/messages" in logged
    files = [
        path.read_bytes()
        for path in tmp_path.iterdir()
        if path.name.startswith("kith.") and path.is_file()
    ]
    haystack = b"\n".join([*rows, logged, *files])
    for needle in needles:
        for form in _forms(needle):
            assert form not in haystack


def _everything(database):
    """Give every value of every table, as bytes."""
    with database.read() as connection:
        metadata = MetaData()
        metadata.reflect(connection)
        return [
            value if isinstance(value, bytes) else str(value).encode()
            for table in metadata.sorted_tables
            for row in connection.execute(select(table))
            for value in row
        ]


def _private(store):
    """Give the private keys of a device, those of its ratchets too."""
    (identity,) = store.all(Identity)
    found = [identity.seed]
    for model in SECRETS:
        found += [secret.secret for secret in store.all(model)]
    for peer in store.all(Peer):
        for session in peer.sessions:
            state = msgspec.json.decode(session.ratchet)["diffie_hellman_ratchet"]
            found += [
                "".join(text).encode("latin-1")
                for text in (state["own_ratchet_priv"], state["root_chain"]["key"])
            ]
    return found


def _forms(needle):
    """Give how bytes may be written: as they are, in hex, and in base64."""
    encoded = base64.urlsafe_b64encode(needle).rstrip(b"=")
    return needle, needle.hex().encode(), encoded, base64.b64encode(needle).rstrip(b"=")
