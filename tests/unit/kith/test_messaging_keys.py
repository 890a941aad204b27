"""Private keys are on disk before their public halves leave, and are published once more when in doubt."""

import pytest

from kith.errors import KithUnreachable
from kith.messaging.keys import CHECK_INTERVAL_SECONDS, ROTATION_SECONDS
from tests.unit.kith.message_devices import Make, MessageDevice


def test_an_upload_without_an_answer_is_made_again(make: Make) -> None:
    """One-time keys that may have been handed out are not published a second time."""
    ann, ben = make("ann", ready=False), make("ben")

    def crash(*_: object, **__: object) -> None:
        ann.kith.upload_keys = upload  # type: ignore[method-assign]
        upload(*_, **__)
        raise KithUnreachable("lost")

    upload = ann.kith.upload_keys
    ann.kith.upload_keys = crash  # type: ignore[method-assign]
    with pytest.raises(KithUnreachable):
        ann.keys.maintain(ann.kith)
    taken = ann.bundle()
    ann.restart()
    ann.keys.maintain(ann.kith)

    ids = {key["key_id"] for key in ann.message_server.keys[ann.device_id]["one_time_prekeys"]}
    assert taken.one_time_prekey is not None
    assert taken.one_time_prekey.key_id not in ids
    assert ann.decrypt_from(ben, ben.sessions.initiate(ann.account_id, taken, b"1")) == b"1"


def test_nothing_is_asked_when_nothing_is_due(ann: MessageDevice) -> None:
    """The server is asked what it has once an hour."""
    kept = ann.message_server.keys[ann.device_id]
    ann.message_server.keys[ann.device_id] = {}
    ann.keys.maintain(ann.kith)
    assert ann.message_server.keys[ann.device_id] == {}
    ann.clock.now += CHECK_INTERVAL_SECONDS
    ann.keys.maintain(ann.kith)
    assert ann.message_server.keys[ann.device_id].keys() == kept.keys()


def test_the_identity_stays(ann: MessageDevice) -> None:
    """Rotation changes prekeys, neither the identity nor the registration id."""
    before = ann.keys.identity()
    ann.clock.now += ROTATION_SECONDS
    ann.keys.maintain(ann.kith)
    after = ann.keys.identity()

    assert (after.seed, after.registration_id) == (before.seed, before.registration_id)
    assert after.prekey_id != before.prekey_id


def test_secrets_do_not_show(ann: MessageDevice) -> None:
    """What is printed of a key by mistake has no secret in it."""
    identity = ann.keys.identity()

    assert identity.seed.hex() not in repr(identity)
    assert repr(identity.seed) not in repr(identity)
