"""Keys under parallel takers and uploads, on real connections of both databases."""

import json
import os
from collections import Counter
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from core.base64url import encode
from core.problems import Problem
from messaging.keys.models import DeviceKeys as DeviceKeysRow
from messaging.keys.models import OneTimePrekey
from messaging.keys.schemas import KeysUpload
from tests.concurrency.test_verification import together
from tests.device_keys import DeviceKeys
from tokens.devices import Caller
from tokens.schemas import DeviceDescription

KEYS = 30
TAKERS = 40


@pytest.fixture
def kith(app):
    """The services, called without HTTP."""
    return app.extensions["kith"]


@pytest.fixture
def join(kith):
    """Add a device to an account, a new one if none is named."""

    def join(account_id=None):
        account_id, device_id = account_id or uuid4(), uuid4()
        with kith.runtime.database.write() as connection:
            kith.tokens.devices.add(
                connection, account_id, device_id, DeviceDescription(), os.urandom(32)
            )
        return Caller(account_id, device_id, b"")

    return join


@pytest.fixture
def upload(kith):
    """Upload keys of a device."""

    def upload(device, body):
        kith.messaging.keys.upload(device, KeysUpload.model_validate_json(json.dumps(body)))

    return upload


def outcome(call):
    """Name how a call ended."""
    try:
        call()
    except Problem as problem:
        return problem.code
    return "done"


def test_takers_share_no_key(kith, join, upload):
    """Of 40 at once 30 get a key of each kind of each device, and 10 get none and the last resort."""
    owner = join()
    devices = [owner, join(owner.account_id)]
    for device in devices:
        upload(device, DeviceKeys().first(KEYS, KEYS))
    takers = [join() for _ in range(TAKERS)]
    answers = together(
        TAKERS,
        lambda place: kith.messaging.keys.fetch(takers[place], owner.account_id, None)[0],
    )
    for device in devices:
        bundles = [
            bundle
            for answer in answers
            for bundle in answer
            if bundle.device_id == device.device_id
        ]
        assert len(bundles) == TAKERS
        prekeys = Counter(bundle.one_time_prekey for bundle in bundles)
        assert prekeys.pop(None) == TAKERS - KEYS
        assert list(prekeys.values()) == [1] * KEYS
        kem_prekeys = Counter(bundle.kem_prekey for bundle in bundles)
        assert sorted(kem_prekeys.values()) == [1] * KEYS + [TAKERS - KEYS]
    assert kith.messaging.keys.count(owner) == (0, 0)


def test_no_key_is_handed_out_twice_while_its_upload_is_repeated(kith, join, upload):
    """The same upload comes again and again between 40 takers: each of 30 keys goes to one of them."""
    owner, body = join(), DeviceKeys().first(KEYS, KEYS)
    upload(owner, body)
    takers = [join() for _ in range(TAKERS)]

    def act(place):
        if place % 4 == 3:
            outcome(lambda: upload(owner, body))
            return None
        ((bundle,), _) = kith.messaging.keys.fetch(takers[place], owner.account_id, None)
        return bundle

    bundles = [one for one in together(TAKERS, act) if one is not None]
    assert len(bundles) == KEYS
    upload(owner, body)
    assert kith.messaging.keys.count(owner) == (0, 0)
    for kind in ("one_time_prekey", "kem_prekey"):
        assert set(Counter(getattr(one, kind) for one in bundles).values()) == {1}


def test_parallel_taking_keeps_to_the_limit(kith, join, upload):
    """Of 50 at once by one account exactly ten are answered, and ten keys are gone."""
    owner, taker = join(), join()
    upload(owner, DeviceKeys().first(KEYS))
    answers = together(
        50, lambda _: outcome(lambda: kith.messaging.keys.fetch(taker, owner.account_id, None))
    )
    assert Counter(answers) == {"done": 10, "too-many-key-fetches": 40}
    assert kith.messaging.keys.count(owner) == (KEYS - 10, 0)


def test_a_bundle_is_of_one_upload(kith, join, upload):
    """While a device begins anew, nobody gets keys of before with an identity of after."""
    owner = join()
    uploads = [DeviceKeys(registration_id=number).first(5, 5) for number in range(1, 9)]
    by_registration = {
        body["registration_id"]: {
            (key["key_id"], key["public_key"])
            for key in (
                *body["one_time_prekeys"],
                *body["one_time_kem_prekeys"],
                body["last_resort_kem_prekey"],
            )
        }
        for body in uploads
    }
    upload(owner, uploads[0])
    takers = [join() for _ in range(20)]

    def act(place):
        if place < len(uploads) - 1:
            return upload(owner, uploads[place + 1])
        return kith.messaging.keys.fetch(takers[place % 20], owner.account_id, None)[0][0]

    for bundle in filter(None, together(27, act)):
        for key in filter(None, (bundle.one_time_prekey, bundle.kem_prekey)):
            made = by_registration[bundle.registration_id]
            assert (key.key_id, encode(key.public_key)) in made
    with kith.runtime.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(DeviceKeysRow)) == 1


def test_parallel_uploads_leave_one_of_them(kith, join, upload):
    """All that is stored is of the upload that was last."""
    owner = join()
    rings = [DeviceKeys(registration_id=number) for number in range(1, 9)]
    bodies = [ring.first(5, 5) for ring in rings]
    assert together(8, lambda place: outcome(lambda: upload(owner, bodies[place]))) == ["done"] * 8
    ((bundle,), _) = kith.messaging.keys.fetch(join(), owner.account_id, None)
    ring = rings[bundle.registration_id - 1]
    assert bundle.identity_key == bytes(ring.identity.verify_key)
    assert kith.messaging.keys.count(owner) == (4, 4)
    ring.identity.verify_key.verify(b"\x02" + bundle.kem_prekey[1], bundle.kem_prekey[2])


def test_a_device_removed_meanwhile_leaves_no_keys(kith, join, upload):
    """An upload and a taking are before the removal or after it."""
    owner = join()
    others = [join(owner.account_id) for _ in range(4)]
    body = DeviceKeys().first(5, 5)
    for device in others:
        upload(device, body)
    takers = [join() for _ in range(10)]

    def remove():
        with kith.runtime.database.write() as connection:
            ids = [device.device_id for device in others]
            kith.tokens.devices.remove_devices(connection, owner.account_id, ids)

    def act(place):
        if place == 0:
            return outcome(remove)
        if place <= 4:
            return outcome(lambda: upload(others[place - 1], body))
        return outcome(lambda: kith.messaging.keys.fetch(takers[place - 5], owner.account_id, None))

    answers = together(15, act)
    assert set(answers) <= {"done", "token-invalid"}
    assert answers[0] == "done"
    assert outcome(lambda: upload(others[0], body)) == "token-invalid"
    with kith.runtime.database.read() as connection:
        for model in (DeviceKeysRow, OneTimePrekey):
            assert connection.scalar(select(func.count()).select_from(model)) == 0
