"""Texts are encrypted for keys that are accepted, and for no others."""

import pytest

from kith.messaging.recipients import KeysChanged, KeysInvalid, NoRecipientDevices
from tests.unit.kith.message_devices import Make, MessageDevice, new_id


def test_a_new_device_of_the_recipient_must_be_accepted(
    ann: MessageDevice, ben: MessageDevice, make: Make
) -> None:
    """A device that shows up later, or that the server has slipped in, is not written to."""
    ann.send(ben, "1")
    tablet = make("tablet", owner="ben")
    with pytest.raises(KeysChanged) as changed:
        ann.send(ben, "2")
    assert (changed.value.account_id, changed.value.device_ids) == (
        ben.account_id,
        [tablet.device_id],
    )
    assert tablet.texts() == []
    assert ben.texts() == ["1"]

    ann.messenger.accounts.accept(ben.account_id)
    ann.send(ben, "3")
    assert tablet.texts() == ["3"]
    assert ben.texts() == ["3"]


def test_new_keys_can_be_accepted_with_the_text(
    ann: MessageDevice, ben: MessageDevice, make: Make
) -> None:
    """One call accepts and sends."""
    ann.send(ben, "1")
    tablet = make("tablet", owner="ben")
    sent = ann.messenger.send(ben.account_id, "2", accept_new_keys=True)

    assert sent.state == "sent"
    assert tablet.texts() == ["2"]


def test_somebody_who_registered_again(ann: MessageDevice, ben: MessageDevice, make: Make) -> None:
    """The old device is forgotten; the new one's keys must be accepted."""
    ann.send(ben, "1")
    ben.message_server.remove(ben.account_id, ben.device_id)
    phone = make("new phone", owner="ben")
    with pytest.raises(KeysChanged):
        ann.send(ben, "2")
    ann.messenger.accounts.accept(ben.account_id)
    ann.send(ben, "3")

    assert phone.texts() == ["3"]
    assert set(ann.messenger.accounts.get(ben.account_id).devices) == {phone.device_id}


def test_keys_that_changed_on_the_same_device(ann: MessageDevice, ben: MessageDevice) -> None:
    """A device that lost its store has other keys: messages for the old ones are refused."""
    ann.send(ben, "1")
    ben.store.close()
    (ben.directory / "ben.db").unlink()
    ben.start()
    ben.messenger.prepare()
    assert ben.texts() == [None]  # it was for the keys that are gone
    with pytest.raises(KeysChanged):
        ann.send(ben, "2")
    ann.messenger.accounts.accept(ben.account_id)
    ann.send(ben, "3")

    assert ben.texts() == ["3"]


def test_a_text_from_a_new_device_is_marked(
    ann: MessageDevice, ben: MessageDevice, make: Make
) -> None:
    """It is shown with a warning, and its sender is told nothing."""
    ann.send(ben, "1")
    tablet = make("tablet", owner="ben")
    tablet.send(ann, "from the tablet")
    (got,) = ann.messenger.receive()

    assert (got.text, got.new_keys) == ("from the tablet", True)
    assert tablet.messenger.receive() == []


def test_who_writes_first_is_met_with_all_her_devices(
    ann: MessageDevice, ben: MessageDevice, make: Make
) -> None:
    """Keys are taken on trust until one writes back, so that an answer reaches every device."""
    make("laptop", owner="ann")
    ann.messenger.accounts.accept(ann.messenger.fetch_identities(ann.account_id).account_id)
    ann.send(ben, "1")
    (got,) = ben.messenger.receive()

    assert not got.new_keys
    assert ben.send(ann, "2").state == "sent"


def test_a_slipped_in_device_of_ones_own_gets_no_copies(
    ann: MessageDevice, ben: MessageDevice, make: Make
) -> None:
    """What one sends is copied to accepted devices only, and sending goes on."""
    ghost = make("ghost", owner="ann")
    assert ann.send(ben, "1").state == "sent"

    assert ghost.messenger.receive() == []
    assert ann.messenger.accounts.get(ann.account_id).unaccepted == [ghost.device_id]
    assert ben.texts() == ["1"]


def test_a_device_without_keys_does_not_stop_the_others(
    ann: MessageDevice, ben: MessageDevice, make: Make
) -> None:
    """It is told that there was something, and is written to as soon as it has keys."""
    tablet = make("tablet", owner="ben", ready=False)
    ann.send(ben, "1")
    assert ben.texts() == ["1"]
    tablet.messenger.prepare()
    assert tablet.texts() == [None]
    with pytest.raises(KeysChanged):
        ann.send(ben, "2")


def test_nobody_to_encrypt_for(ann: MessageDevice, make: Make) -> None:
    """An account without keys is refused before anything is sent."""
    eve = make("eve", ready=False)
    with pytest.raises(NoRecipientDevices):
        ann.send(eve, "1")

    assert ann.message_server.bodies == []
    (kept,) = ann.messenger.history.newest(eve.account_id, 9)
    assert kept.state == "failed"


def test_keys_that_are_not_signed(ann: MessageDevice, ben: MessageDevice) -> None:
    """An account with a forged prekey is refused, and nothing of it stays in the way."""
    kept = ann.message_server.keys[ben.device_id]
    kept["signed_prekey"] = {**kept["signed_prekey"], "signature": "A" * 86}
    with pytest.raises(KeysInvalid):
        ann.send(ben, "1")
    ann.messenger.flush()

    assert ann.message_server.bodies == []


def test_a_device_that_comes_and_goes(ann: MessageDevice, ben: MessageDevice, make: Make) -> None:
    """A device that wrote, went and is back is not written to for having a session."""
    ann.send(ben, "1")
    ghost = make("ghost", owner="ben")
    ghost.send(ann, "hello")
    ann.messenger.receive()
    ann.message_server.devices[ben.account_id].remove(ghost.device_id)
    ann.messenger.fetch_identities(ben.account_id)
    ann.send(ben, "2")
    ann.message_server.devices[ben.account_id].append(ghost.device_id)
    with pytest.raises(KeysChanged):
        ann.send(ben, "3")
    assert ghost.texts() == []


def test_safety_numbers_of_several_devices(
    ann: MessageDevice, ben: MessageDevice, make: Make
) -> None:
    """Both people see one number on any device, and another one once a device comes."""
    tablet = make("tablet", owner="ben")

    def number(mine: MessageDevice, theirs: MessageDevice) -> str:
        for account_id in (mine.account_id, theirs.account_id):
            mine.messenger.fetch_identities(account_id)
        return mine.messenger.safety_number(theirs.account_id)

    first = number(ann, ben)
    assert number(ben, ann) == number(tablet, ann) == first
    make("ghost", owner="ben")
    assert number(ann, ben) != first
    assert number(ben, ann) != first
    assert new_id("ann's account") == ann.account_id
