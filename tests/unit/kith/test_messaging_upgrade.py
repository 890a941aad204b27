"""Message stores of earlier versions are read, and their sessions go on.

tests/data/message_store_v1 holds the stores of two devices, and what a server has of them.
"""

import gzip
import json
from pathlib import Path

import pytest

from kith.messaging.accounts import ContactName, ContactNames, KnownAccount
from kith.messaging.history import Entry
from kith.messaging.inbox import Gap, ProcessedMessage, SentRefresh
from kith.messaging.keys import (
    Identity,
    LastResortSecret,
    OneTimeKemSecret,
    OneTimeSecret,
    SignedSecret,
)
from kith.messaging.outbox import OutgoingMessage
from kith.messaging.sessions import DecryptedMarker, OldSessions, Peer, UsedInitialMessage
from kith.messaging.store import Record
from tests.unit.kith.message_devices import Clock, MessageDevice
from tests.unit.kith.message_server import MessageServer

DATA = Path(__file__).parents[2] / "data" / "message_store_v1"


@pytest.fixture
def devices(tmp_path: Path) -> tuple[MessageDevice, MessageDevice]:
    """Return Ann's and Ben's devices with stores of the first version."""
    kept = json.loads((DATA / "devices.json").read_text())
    message_server, clock = MessageServer(), Clock()
    for name in ("ann", "ben"):
        (tmp_path / f"{name}.db").write_bytes(
            gzip.decompress((DATA / f"{name}.db.gz").read_bytes())
        )
        (tmp_path / f"{name}.key").write_bytes(bytes.fromhex(kept["store_keys"][name]))
        (tmp_path / f"{name}.key").chmod(0o600)
    ann, ben = (MessageDevice(name, message_server, tmp_path, clock) for name in ("ann", "ben"))
    message_server.keys.update(kept["keys"])
    return ann, ben


def test_everything_that_was_kept_is_read(devices: tuple[MessageDevice, MessageDevice]) -> None:
    """Texts, names, identities, keys and gaps of the old store are there."""
    ann, ben = devices

    texts = {entry.text: entry.state for entry in ann.messenger.history.newest(ben.account_id, 9)}
    person = ann.messenger.accounts.get(ben.account_id)
    [find_by_name] = ContactNames(ann.store).find_by_name("Ben B.")
    gap = ann.messenger.gap()

    assert texts == {"one": "delivered", "two": "sent", None: "sent", "waits": "waiting"}
    assert person.settled
    assert person.verified == (ben.keys.identity().public_key,)
    assert (find_by_name.account_id, find_by_name.phone_number) == (
        ben.account_id,
        "+4915112345678",
    )
    assert gap is not None
    assert gap.through == 7


def test_sessions_go_on(devices: tuple[MessageDevice, MessageDevice]) -> None:
    """The text that waited is sent, and both sides read each other in the old sessions."""
    ann, ben = devices
    before = ann.sessions.peer(ben.account_id, ben.device_id)
    assert before is not None

    ann.messenger.flush()
    assert ben.texts() == ["waits"]
    ben.send(ann, "back")
    assert ann.texts() == ["back"]

    after = ann.sessions.peer(ben.account_id, ben.device_id)
    assert after is not None
    assert after.identity_key == before.identity_key
    assert [one.ephemeral_key for one in after.sessions] == [
        one.ephemeral_key for one in before.sessions
    ]


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (ContactName, 1),
        (DecryptedMarker, 2),
        (Entry, 4),
        (Gap, 1),
        (Identity, 1),
        (KnownAccount, 2),
        (LastResortSecret, 1),
        (OldSessions, 1),
        (OneTimeKemSecret, 2),
        (OneTimeSecret, 2),
        (OutgoingMessage, 1),
        (Peer, 1),
        (ProcessedMessage, 3),
        (SentRefresh, 1),
        (SignedSecret, 1),
        (UsedInitialMessage, 1),
    ],
)
def test_records_keep_their_kind(
    model: type[Record], count: int, devices: tuple[MessageDevice, MessageDevice]
) -> None:
    """A class may be renamed, but not the kind of its records: old stores would lose them."""
    assert len(list(devices[0].store.all(model))) == count
