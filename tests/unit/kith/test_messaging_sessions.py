"""Sessions: two devices understand each other, and nobody else, whatever happens on the way."""

import pytest
from msgspec.structs import replace

from kith.messaging.formats import EMPTY_ENVELOPE
from kith.messaging.key_agreement import KeyAgreementFailed
from kith.messaging.keys import DAY, OLD_KEY_RETENTION_SECONDS, ROTATION_SECONDS
from kith.messaging.ratchet import MAX_SKIPPED_KEYS, NotDecrypted
from kith.messaging.sessions import (
    MAX_SESSIONS,
    OLD_SESSION_RETENTION_SECONDS,
    MessageIgnored,
    OldSessions,
)
from tests.unit.kith.message_devices import Make, MessageDevice


def test_a_conversation(ann: MessageDevice, ben: MessageDevice) -> None:
    """Messages go both ways, those before the first answer too."""
    assert ben.decrypt_from(ann, ann.first(ben, b"1")) == b"1"
    assert ben.decrypt_from(ann, ann.encrypt_for(ben, b"2")) == b"2"
    assert ann.decrypt_from(ben, ben.encrypt_for(ann, b"3")) == b"3"
    assert ben.decrypt_from(ann, ann.encrypt_for(ben, b"4")) == b"4"


def test_first_messages_are_short_once_answered(ann: MessageDevice, ben: MessageDevice) -> None:
    """What begins a session is sent until the other end has answered, and no longer."""
    ben.decrypt_from(ann, ann.first(ben, b"1"))
    before = ann.encrypt_for(ben, b"2")
    ann.decrypt_from(ben, ben.encrypt_for(ann, b"3"))

    assert len(before) > 1_600
    assert len(ann.encrypt_for(ben, b"4")) < 100


def test_sessions_outlive_the_process(ann: MessageDevice, ben: MessageDevice) -> None:
    """A device that starts anew goes on where it was."""
    ben.decrypt_from(ann, ann.first(ben, b"1"))
    for one in (ann, ben):
        one.store.close()
        one.start()

    assert ann.decrypt_from(ben, ben.encrypt_for(ann, b"2")) == b"2"
    assert ben.decrypt_from(ann, ann.encrypt_for(ben, b"3")) == b"3"


def test_every_bit_counts(ann: MessageDevice, ben: MessageDevice) -> None:
    """A changed message is refused, wherever it was changed, and the right one still works."""
    first = ann.first(ben, b"1")
    for place in (0, 1, 2, 8, 12, 50, 80, 84, 88, 500, 1_700, len(first) - 1):
        with pytest.raises(NotDecrypted):
            ben.decrypt_from(ann, first[:place] + bytes([first[place] ^ 1]) + first[place + 1 :])
    assert ben.decrypt_from(ann, first) == b"1"
    later = ben.encrypt_for(ann, b"2")
    for place in range(0, len(later), 7):
        with pytest.raises(NotDecrypted):
            ann.decrypt_from(ben, later[:place] + bytes([later[place] ^ 1]) + later[place + 1 :])
    for length in (0, 1, 2, 20, 41, len(later) - 1):
        with pytest.raises(NotDecrypted):
            ann.decrypt_from(ben, later[:length])
    assert ann.decrypt_from(ben, later) == b"2"


def test_a_message_is_of_its_sender_and_for_its_recipient(
    ann: MessageDevice, ben: MessageDevice
) -> None:
    """A server that names another sender, or hands a message to another device, gets nowhere."""
    first = ann.first(ben, b"1")
    with pytest.raises(NotDecrypted):
        ben.sessions.decrypt(ben.account_id, ann.device_id, first)
    with pytest.raises(NotDecrypted):
        ann.decrypt_from(ann, first)
    assert ben.decrypt_from(ann, first) == b"1"
    later = ben.encrypt_for(ann, b"2")
    with pytest.raises(NotDecrypted):
        ben.decrypt_from(ann, later)
    with pytest.raises(NotDecrypted):
        ann.sessions.decrypt(ben.account_id, ann.device_id, later)


def test_nothing_is_heard_twice(ann: MessageDevice, ben: MessageDevice, make: Make) -> None:
    """A repeated message is refused: a first one, a later one, and one of a forgotten session."""
    first = ann.first(ben, b"1")
    later = ann.encrypt_for(ben, b"2")
    ben.decrypt_from(ann, first)
    ben.decrypt_from(ann, later)
    for content in (first, later):
        with pytest.raises(NotDecrypted):
            ben.decrypt_from(ann, content)
    ben.lose_sessions(ann)
    with pytest.raises(NotDecrypted):
        ben.decrypt_from(ann, first)


def test_a_first_message_without_one_time_keys_is_not_heard_twice(make: Make) -> None:
    """The last resort serves many sessions, and each of them once."""
    ann, ben = make("ann"), make("ben")
    ben.message_server.keys[ben.device_id] |= {"one_time_prekeys": [], "one_time_kem_prekeys": []}
    firsts = [ann.first(ben, b"1"), ann.first(ben, b"2")]

    assert [ben.decrypt_from(ann, first) for first in firsts] == [b"1", b"2"]
    ben.lose_sessions(ann)
    for first in firsts:
        with pytest.raises(NotDecrypted):
            ben.decrypt_from(ann, first)


def test_messages_may_come_in_any_order(ann: MessageDevice, ben: MessageDevice) -> None:
    """What overtakes others is understood, and so are they."""
    ben.decrypt_from(ann, ann.first(ben, b"first"))
    ann.decrypt_from(ben, ben.encrypt_for(ann, b"hello"))
    said = [ann.encrypt_for(ben, bytes([n])) for n in range(5)]
    ann.decrypt_from(ben, ben.encrypt_for(ann, b"and?"))
    said += [ann.encrypt_for(ben, bytes([n])) for n in range(5, 8)]

    assert [ben.decrypt_from(ann, said[n]) for n in (6, 3, 0, 7, 4, 1, 5, 2)] == [
        bytes([n]) for n in (6, 3, 0, 7, 4, 1, 5, 2)
    ]


def test_keys_of_lost_messages_are_bounded(ann: MessageDevice, ben: MessageDevice) -> None:
    """A message too far ahead is refused without work, and the session still serves."""
    first = ann.first(ben, b"first")
    near = [ann.encrypt_for(ben, b"x") for _ in range(MAX_SKIPPED_KEYS + 2)]
    ben.decrypt_from(ann, first)

    with pytest.raises(NotDecrypted):
        ben.decrypt_from(ann, near[MAX_SKIPPED_KEYS + 1])
    assert ben.decrypt_from(ann, near[MAX_SKIPPED_KEYS]) == b"x"
    assert ben.decrypt_from(ann, near[0]) == b"x"


def test_both_begin_at_once(ann: MessageDevice, ben: MessageDevice) -> None:
    """Two sessions become one in the end, and no message is lost on the way."""
    from_ann, from_ben = ann.first(ben, b"a1"), ben.first(ann, b"b1")
    also_from_ann, also_from_ben = ann.encrypt_for(ben, b"a2"), ben.encrypt_for(ann, b"b2")

    assert ann.decrypt_from(ben, from_ben) == b"b1"
    assert ben.decrypt_from(ann, from_ann) == b"a1"
    assert ann.decrypt_from(ben, also_from_ben) == b"b2"
    assert ben.decrypt_from(ann, also_from_ann) == b"a2"
    for n in range(6):
        assert ben.decrypt_from(ann, ann.encrypt_for(ben, bytes([n]))) == bytes([n])
        assert ann.decrypt_from(ben, ben.encrypt_for(ann, bytes([n]))) == bytes([n])


def test_a_device_that_lost_its_sessions_begins_again(
    ann: MessageDevice, ben: MessageDevice
) -> None:
    """The newest session is written to, and only a few older ones are kept."""
    ben.decrypt_from(ann, ann.first(ben, b"1"))
    for _ in range(MAX_SESSIONS + 1):
        ann.lose_sessions(ben)
        ben.decrypt_from(ann, ann.first(ben, b"again"))

    assert ann.decrypt_from(ben, ben.encrypt_for(ann, b"2")) == b"2"
    peer = ben.sessions.peer(ann.account_id, ann.device_id)
    assert peer is not None
    assert len(peer.sessions) == MAX_SESSIONS


def test_retired_sessions_are_read_and_not_written_to(
    ann: MessageDevice, ben: MessageDevice
) -> None:
    """What was on its way is read, old first messages too, and what is written is in a new session."""
    ben.decrypt_from(ann, ann.first(ben, b"1"))
    late = [ann.encrypt_for(ben, b"2"), ann.encrypt_for(ben, b"3"), ann.encrypt_for(ben, b"4")]
    ben.sessions.retire(ann.account_id, ann.device_id)

    assert ben.decrypt_from(ann, late[1]) == b"3"
    assert ben.sessions.peer(ann.account_id, ann.device_id) is None
    assert ann.decrypt_from(ben, ben.first(ann, b"new")) == b"new"
    assert ben.decrypt_from(ann, late[0]) == b"2"
    assert ben.decrypt_from(ann, ann.encrypt_for(ben, b"5")) == b"5"
    assert ann.decrypt_from(ben, ben.encrypt_for(ann, b"6")) == b"6"
    assert ben.decrypt_from(ann, late[2]) == b"4"


def test_retired_sessions_are_read_for_as_long_as_a_message_may_wait(
    ann: MessageDevice, ben: MessageDevice
) -> None:
    """After 30 days there is nothing to read in them, and reading makes it no longer."""
    ben.decrypt_from(ann, ann.first(ben, b"1"))
    late = [ann.encrypt_for(ben, b"2"), ann.encrypt_for(ben, b"3")]
    ben.sessions.retire(ann.account_id, ann.device_id)
    ben.clock.now += OLD_SESSION_RETENTION_SECONDS - DAY
    ben.store.delete_expired(int(ben.clock()))
    assert ben.decrypt_from(ann, late[0]) == b"2"

    ben.clock.now += 2 * DAY
    with pytest.raises(NotDecrypted):
        ben.decrypt_from(ann, late[1])
    ben.store.delete_expired(int(ben.clock()))
    assert not list(ben.store.all(OldSessions))


def test_so_many_retired_sessions_are_kept(ann: MessageDevice, ben: MessageDevice) -> None:
    """The newest, as many as are written to at most."""
    late = []
    for n in range(MAX_SESSIONS + 1):
        ben.decrypt_from(ann, ann.first(ben, b"1"))
        late.append(ann.encrypt_for(ben, bytes([n])))
        ben.sessions.retire(ann.account_id, ann.device_id)
        ann.lose_sessions(ben)

    with pytest.raises(NotDecrypted):
        ben.decrypt_from(ann, late[0])
    assert [ben.decrypt_from(ann, one) for one in late[1:]] == [b"\1", b"\2", b"\3", b"\4"]


def test_sessions_under_older_keys_are_only_read(ann: MessageDevice, ben: MessageDevice) -> None:
    """A device begins anew: what it sent before is read, an older first message too, and changes
    nothing about what is written to.
    """
    ben.decrypt_from(ann, ann.first(ben, b"1"))
    late = ann.encrypt_for(ben, b"2")
    ann.lose_sessions(ben)
    late_first = ann.first(ben, b"3")
    ann.start_over(as_another=False)
    respond = ben.first(ann, b"4")
    peer = ben.sessions.peer(ann.account_id, ann.device_id)

    assert ben.decrypt_from(ann, late_first) == b"3"
    assert ben.decrypt_from(ann, late) == b"2"
    assert ben.sessions.peer(ann.account_id, ann.device_id) == peer
    assert ann.decrypt_from(ben, respond) == b"4"
    assert ben.decrypt_from(ann, ann.encrypt_for(ben, b"5")) == b"5"


@pytest.mark.parametrize("content", [b"\x07", b"\x01\x09", b"\x02\x01x", b"\x01\x03" + bytes(300)])
def test_unknown_contents_are_passed_over(
    content: bytes, ann: MessageDevice, ben: MessageDevice
) -> None:
    """What only other clients know is not taken for a message that was lost."""
    with pytest.raises(MessageIgnored):
        ben.decrypt_from(ann, content)


def test_what_was_heard_is_passed_over(ann: MessageDevice, ben: MessageDevice) -> None:
    """A repeated message is told from a broken one, whatever has become of its session."""
    first = ann.first(ben, b"1")
    later = ann.encrypt_for(ben, b"2")
    ben.decrypt_from(ann, first)
    ben.decrypt_from(ann, later)
    for prepare in (lambda: None, lambda: ben.sessions.retire(ann.account_id, ann.device_id)):
        prepare()
        for content in (first, later):
            with pytest.raises(MessageIgnored):
                ben.decrypt_from(ann, content)
    ben.lose_sessions(ann)
    for content in (first, later):
        with pytest.raises(MessageIgnored):
            ben.decrypt_from(ann, content)


def test_a_device_without_keys_is_told_so(ann: MessageDevice, ben: MessageDevice) -> None:
    """What could not be encrypted for it says just that."""
    assert ben.decrypt_from(ann, EMPTY_ENVELOPE) is None


@pytest.mark.parametrize("name", ["signed_prekey", "kem_prekey"])
def test_keys_of_others_are_refused(
    name: str, ann: MessageDevice, ben: MessageDevice, make: Make
) -> None:
    """A prekey that the identity key has not signed begins no session."""
    bundle, other = ben.bundle(), make("eve").bundle()
    swapped = replace(bundle, **{name: getattr(other, name)})

    with pytest.raises(KeyAgreementFailed):
        ann.sessions.initiate(ben.account_id, swapped, b"1")
    assert ann.sessions.peer(ben.account_id, ben.device_id) is None


def test_a_signature_is_for_one_kind_of_key(ann: MessageDevice, ben: MessageDevice) -> None:
    """A KEM key's signature does not sign a signed prekey, whatever the bytes."""
    bundle = ben.bundle()
    assert bundle.kem_prekey is not None
    swapped = replace(
        bundle,
        signed_prekey=replace(bundle.signed_prekey, signature=bundle.kem_prekey.signature),
    )

    with pytest.raises(KeyAgreementFailed):
        ann.sessions.initiate(ben.account_id, swapped, b"1")


@pytest.mark.parametrize("name", ["identity_key", "one_time_prekey"])
def test_weak_keys_are_refused(name: str, ann: MessageDevice, ben: MessageDevice) -> None:
    """A key that would give a secret known to all begins no session."""
    bundle = ben.bundle()
    assert bundle.one_time_prekey is not None
    weak = (
        bytes(32)
        if name == "identity_key"
        else replace(bundle.one_time_prekey, public_key=bytes(32))
    )

    with pytest.raises(KeyAgreementFailed):
        ann.sessions.initiate(ben.account_id, replace(bundle, **{name: weak}), b"1")


def test_without_a_kem_key_it_is_another_secret(ann: MessageDevice, ben: MessageDevice) -> None:
    """A bundle without a KEM key works; taking the ciphertext off a message does not."""
    plain = ann.sessions.initiate(ben.account_id, replace(ben.bundle(), kem_prekey=None), b"1")
    assert ben.decrypt_from(ann, plain) == b"1"
    full = ann.first(ben, b"2")
    stripped = full[:82] + b"\xff" * 4 + full[86 + 1_568 :]

    with pytest.raises(NotDecrypted):
        ben.decrypt_from(ann, stripped)
    assert ben.decrypt_from(ann, full) == b"2"


def test_prekeys_are_replaced_and_forgotten(ann: MessageDevice, ben: MessageDevice) -> None:
    """A week later there are new ones; the old serve while a message may wait, and no longer."""
    early, late = ann.bundle(), ann.bundle()
    ann.clock.now += ROTATION_SECONDS
    ann.keys.maintain(ann.kith)
    fresh = ann.bundle()
    assert fresh.signed_prekey.key_id != early.signed_prekey.key_id
    assert fresh.identity_key == early.identity_key

    ann.clock.now += OLD_KEY_RETENTION_SECONDS - DAY
    ann.store.delete_expired(int(ann.clock()))
    assert ann.decrypt_from(ben, ben.sessions.initiate(ann.account_id, early, b"1")) == b"1"
    ann.clock.now += 2 * DAY
    ann.store.delete_expired(int(ann.clock()))
    with pytest.raises(NotDecrypted):
        ann.decrypt_from(ben, ben.sessions.initiate(ann.account_id, late, b"2"))


def test_one_time_keys_are_used_once_and_made_anew(
    ann: MessageDevice, ben: MessageDevice, make: Make
) -> None:
    """Two sessions from one bundle: the second finds no key; few left become a hundred."""
    bundle = ann.bundle()
    assert ann.decrypt_from(ben, ben.sessions.initiate(ann.account_id, bundle, b"1")) == b"1"
    eve = make("eve")
    with pytest.raises(NotDecrypted):
        ann.decrypt_from(eve, eve.sessions.initiate(ann.account_id, bundle, b"2"))

    kept = ann.message_server.keys[ann.device_id]
    kept["one_time_prekeys"] = kept["one_time_prekeys"][:5]
    ann.clock.now += 4_000
    ann.keys.maintain(ann.kith)
    assert len(kept["one_time_prekeys"]) == 100
    assert ann.decrypt_from(eve, eve.first(ann, b"3")) == b"3"


def test_keys_that_the_server_lost_are_published_again(ann: MessageDevice) -> None:
    """The hourly look finds that the server says something else."""
    identity = ann.keys.identity()
    ann.message_server.keys[ann.device_id] = {}
    ann.clock.now += 4_000
    ann.keys.maintain(ann.kith)

    assert ann.bundle().registration_id == identity.registration_id
