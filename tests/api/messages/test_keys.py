"""Keys: published by a device, taken by others, each one-time key once."""

from uuid import UUID

import pytest
from sqlalchemy import func, insert, select

from core import rate_limits
from core.clock import unix_microseconds
from core.rate_limit_statements import RateLimitCounter
from messaging.keys.models import ConsumedPrekey
from messaging.limits import KEY_FETCHES
from messaging.message_types import KeysLowNotice
from tests.api.messages.conftest import NOBODY
from tests.conftest import OTHER_NUMBER, problem_code
from tests.device_keys import DeviceKeys, digest_of


@pytest.fixture
def keys():
    """The keys of one device."""
    return DeviceKeys()


@pytest.fixture
def published(upload, ben, keys):
    """Ben's first upload: two one-time keys of each kind."""
    body = keys.first(2, 2)
    assert upload(ben, body).status_code == 204
    return body


@pytest.fixture
def left(client, ben):
    """Count what a device of Ben's has left of both kinds."""

    def left(device=ben):
        counts = client.get("/v1/keys/count", headers=device.headers).json
        return counts["one_time_prekeys"], counts["one_time_kem_prekeys"]

    return left


@pytest.fixture
def told(app, monkeypatch):
    """What devices are told."""
    told = []
    keys = app.extensions["kith"].messaging.keys
    monkeypatch.setattr(keys, "send_notice", lambda device, notice: told.append((device, notice)))
    return told


def bundle_of(response):
    """Give the one bundle that was taken."""
    assert response.status_code == 200
    (bundle,) = response.json["devices"]
    return bundle


def test_one_time_keys_are_handed_out_once_and_then_the_last_resort(ben, take, published, left):
    """Each taker gets another pair, in the order of their ids, until only the last resort is left."""
    bundles = [bundle_of(take(ben)) for _ in range(4)]
    assert [bundle["one_time_prekey"] for bundle in bundles] == [
        *published["one_time_prekeys"],
        None,
        None,
    ]
    assert [bundle["kem_prekey"] for bundle in bundles] == [
        *published["one_time_kem_prekeys"],
        *[published["last_resort_kem_prekey"]] * 2,
    ]
    for bundle in bundles:
        assert bundle["device_id"] == ben.device_id
        for name in ("registration_id", "identity_key", "signed_prekey"):
            assert bundle[name] == published[name]
    assert left() == (0, 0)


def test_a_repeated_upload_brings_no_key_back(ben, upload, take, published, left, keys):
    """Keys that were handed out after the answer was lost are not handed out again."""
    first = bundle_of(take(ben))
    assert upload(ben, published).status_code == 204
    assert left() == (1, 1)
    second = bundle_of(take(ben))
    assert second["one_time_prekey"] == published["one_time_prekeys"][1]
    assert second["kem_prekey"] == published["one_time_kem_prekeys"][1]
    assert upload(ben, published).status_code == 204
    assert left() == (0, 0)
    third = bundle_of(take(ben))
    assert (third["one_time_prekey"], third["kem_prekey"]) == (
        None,
        published["last_resort_kem_prekey"],
    )
    assert first["one_time_prekey"] != second["one_time_prekey"]


def test_a_key_comes_back_in_no_other_way(app, ben, upload, take, published, left, keys, clock):
    """Under another id, twice in one upload, with other keys, and after the device began anew."""
    taken = bundle_of(take(ben))["one_time_prekey"]
    renamed = taken | {"key_id": 77}
    fresh = keys.prekey()
    same = fresh | {"key_id": 78}
    assert upload(ben, {"one_time_prekeys": [renamed, fresh, same]}).status_code == 204
    assert left()[0] == 1
    assert bundle_of(take(ben))["one_time_prekey"] == fresh
    anew = published | {"registration_id": published["registration_id"] + 1}
    assert upload(ben, anew).status_code == 204
    assert left() == (1, 0)
    upload(ben, published)
    assert left() == (1, 0)
    # Long after any message for it could come, it is forgotten.
    clock.advance(days=91)
    app.extensions["kith"].maintenance.run()
    upload(ben, published)
    assert left() == (2, 2)


def test_what_was_handed_out_is_forgotten_with_the_device(
    client, ben, upload, take, published, database
):
    """Nothing is left of a device that is gone."""
    take(ben)
    client.delete("/v1/account", headers=ben.headers)
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(ConsumedPrekey)) == 0


def test_without_kem_keys_a_bundle_has_none(ben, upload, take, keys):
    """KEM keys are optional."""
    upload(ben, keys.first())
    bundle = bundle_of(take(ben))
    assert (bundle["one_time_prekey"], bundle["kem_prekey"]) == (None, None)


def test_each_device_has_a_bundle(ben, link, upload, take, published, left):
    """Devices without keys are named, and one device can be asked for alone."""
    second, third = link(ben), link(ben)
    body = DeviceKeys(registration_id=9).first(1)
    upload(second, body)
    alone = bundle_of(take(ben, device_id=second.device_id))
    assert alone["one_time_prekey"] == body["one_time_prekeys"][0]
    assert left() == (2, 2)
    taken = take(ben).json
    assert {bundle["device_id"]: bundle["registration_id"] for bundle in taken["devices"]} == {
        ben.device_id: 7,
        second.device_id: 9,
    }
    assert taken["without_keys"] == [third.device_id]
    assert take(ben, device_id=third.device_id).json == {
        "devices": [],
        "without_keys": [third.device_id],
    }


def test_of_the_own_account_the_other_devices_are_given(ben, link, upload, take, published, left):
    """Nobody takes her own device's keys."""
    second = link(ben)
    upload(second, DeviceKeys().first())
    assert bundle_of(take(ben, taker=ben))["device_id"] == second.device_id
    assert problem_code(take(ben, taker=ben, device_id=ben.device_id)) == "device-not-found"
    assert left() == (2, 2)


def test_one_time_keys_take_the_place_of_those_that_are_left(ben, upload, take, published, keys):
    """Of one kind; the other stays."""
    take(ben)
    fresh = [keys.prekey() for _ in range(3)]
    upload(ben, {"one_time_prekeys": fresh})
    bundle = bundle_of(take(ben))
    assert bundle["one_time_prekey"] == fresh[0]
    assert bundle["kem_prekey"] == published["one_time_kem_prekeys"][1]
    assert bundle["signed_prekey"] == published["signed_prekey"]


def test_a_signed_prekey_and_a_last_resort_are_replaced_alone(ben, upload, take, keys, left):
    """Rotating them touches no one-time key."""
    upload(ben, keys.first(1, 1))
    signed, last_resort = keys.signed(), keys.kem()
    assert upload(ben, {"signed_prekey": signed}).status_code == 204
    assert upload(ben, {"last_resort_kem_prekey": last_resort}).status_code == 204
    assert left() == (1, 1)
    take(ben)
    bundle = bundle_of(take(ben))
    assert (bundle["signed_prekey"], bundle["kem_prekey"]) == (signed, last_resort)


def test_a_new_identity_key_removes_all_under_the_old_one(ben, upload, take, published, left):
    """One-time keys and last resort are gone with it."""
    body = DeviceKeys(registration_id=8).first()
    assert upload(ben, body).status_code == 204
    assert left() == (0, 0)
    bundle = bundle_of(take(ben))
    assert bundle == body | {
        "device_id": ben.device_id,
        "one_time_prekey": None,
        "kem_prekey": None,
    }


def test_a_new_registration_id_removes_all_but_the_identity_key(
    ben, upload, take, published, keys, left
):
    """A device that lost its sessions begins anew as who it was."""
    body = {"registration_id": 8, "signed_prekey": keys.signed()}
    assert upload(ben, body).status_code == 204
    assert left() == (0, 0)
    bundle = bundle_of(take(ben))
    assert bundle["identity_key"] == published["identity_key"]
    assert (bundle["registration_id"], bundle["kem_prekey"]) == (8, None)


def test_the_digest_is_that_of_what_is_handed_out(client, ben, upload, keys):
    """With and without a last resort; a device without keys has none."""

    def check(digest):
        return client.post("/v1/keys/check", json={"digest": digest}, headers=ben.headers)

    body = keys.first()
    assert problem_code(check(digest_of(body))) == "keys-differ"
    upload(ben, body)
    assert check(digest_of(body)).status_code == 204
    upload(ben, {"last_resort_kem_prekey": (last_resort := keys.kem())})
    assert (check(digest_of(body)).status_code, problem_code(check(digest_of(body)))) == (
        409,
        "keys-differ",
    )
    assert check(digest_of(body | {"last_resort_kem_prekey": last_resort})).status_code == 204


def test_keys_go_with_the_device_and_with_the_account(app, client, ben, link, upload, published):
    """Nothing of them stays in the database."""
    second = link(ben)
    upload(second, DeviceKeys().first(2, 2))

    def rows():
        with app.extensions["kith"].runtime.database.read() as connection:
            return tuple(
                connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()
                for table in ("device_keys", "one_time_prekeys")
            )

    assert rows() == (2, 8)
    client.delete(f"/v1/devices/{second.device_id}", headers=ben.headers)
    assert rows() == (1, 4)
    client.delete("/v1/account", headers=ben.headers)
    assert rows() == (0, 0)


def test_what_is_not_there_is_not_found(ben, anna, take, client):
    """An account, a device, an id that is none; a device of another account is as good as none."""
    missing = client.get(f"/v1/keys/{NOBODY}", headers=anna.headers)
    assert (missing.status_code, problem_code(missing)) == (404, "account-not-found")
    for device_id in (NOBODY, anna.device_id):
        answer = take(ben, device_id=device_id)
        assert (answer.status_code, problem_code(answer)) == (404, "device-not-found")


def test_a_device_with_few_keys_is_told(app, clock, ben, upload, take, keys, told):
    """By each taking that leaves fewer than 20 of a kind, and when it opens a socket."""
    kith = app.extensions["kith"]
    caller = kith.tokens.device_tokens.authenticate(ben.token)
    assert kith.messaging.keys.pending_notices(caller) == ()
    upload(ben, keys.first(21, 21))
    take(ben)
    assert (told, kith.messaging.keys.pending_notices(caller)) == ([], ())
    take(ben)
    assert told == [(caller.device_id, KeysLowNotice(19, 19, clock()))]
    assert kith.messaging.keys.pending_notices(caller) == (KeysLowNotice(19, 19, clock()),)


def test_a_device_is_asked_for_kem_keys_if_it_has_any(app, clock, ben, upload, take, keys, told):
    """None are missed from one without a last resort."""
    kith = app.extensions["kith"]
    caller = kith.tokens.device_tokens.authenticate(ben.token)
    upload(ben, keys.first(30))
    take(ben)
    assert (told, kith.messaging.keys.pending_notices(caller)) == ([], ())
    upload(ben, {"last_resort_kem_prekey": keys.kem()})
    take(ben)
    assert told == [(caller.device_id, KeysLowNotice(28, 0, clock()))]


def test_taking_from_one_account_is_limited(app, ben, link, anna, upload, take, keys, left):
    """Ten at once, by all devices of the taker; then one every ten minutes, and a refusal takes nothing."""
    upload(ben, keys.first(12))
    second = link(anna)
    answers = [take(ben, taker=taker).status_code for taker in [anna, second] * 5]
    assert answers == [200] * 10
    refused = take(ben)
    assert (refused.status_code, problem_code(refused)) == (429, "too-many-key-fetches")
    assert refused.headers["Retry-After"] == "600"
    assert left() == (2, 0)
    app.extensions["kith"].runtime.clock.advance(600)
    assert [take(ben).status_code for _ in range(2)] == [200, 429]
    assert left() == (1, 0)


def test_another_taker_is_not_held_up(ben, register, upload, take, keys):
    """The limit is of the pair."""
    upload(ben, keys.first())
    for _ in range(11):
        take(ben)
    assert take(ben, taker=register(OTHER_NUMBER)).status_code == 200


def test_taking_in_all_is_limited(app, ben, anna, take):
    """A refusal by the larger limit costs nothing of the smaller one."""
    runtime = app.extensions["kith"].runtime
    subject = UUID(anna.account_id).bytes
    until_us = unix_microseconds(runtime.clock())
    until_us += (KEY_FETCHES.quota - 2) * KEY_FETCHES.interval_us
    spent = {"subject": subject, "name": KEY_FETCHES.name, "used": 1, "until_us": until_us}
    with runtime.database.write() as connection:
        connection.execute(insert(RateLimitCounter).values(spent))
    assert [take(owner).status_code for owner in (ben, anna, ben)] == [200, 200, 429]
    with runtime.database.write() as connection:
        rate_limits.reset(connection, KEY_FETCHES, subject)
    assert [take(ben).status_code for _ in range(10)] == [200] * 9 + [429]


def test_uploads_are_limited(app, ben, link, upload, keys):
    """Twenty at once of each device, then one every three minutes."""
    body = keys.first()
    assert [upload(ben, body).status_code for _ in range(20)] == [204] * 20
    refused = upload(ben, body)
    assert (refused.status_code, problem_code(refused)) == (429, "too-many-key-uploads")
    assert refused.headers["Retry-After"] == "180"
    assert upload(link(ben), body).status_code == 204
    app.extensions["kith"].runtime.clock.advance(180)
    assert upload(ben, body).status_code == 204


def test_what_is_handed_out_is_counted(app, ben, take, published):
    """The metrics tell of takers who get no one-time key."""
    for _ in range(3):
        take(ben)
    metrics = app.extensions["kith"].runtime.metrics.render().decode()
    for kind, source, times in (
        ("x25519", "one_time", 2),
        ("x25519", "none", 1),
        ("ml_kem", "one_time", 2),
        ("ml_kem", "last_resort", 1),
    ):
        assert f'kith_prekeys_total{{kind="{kind}",source="{source}"}} {times}.0' in metrics


def test_identities_use_nothing_up(client, app, anna, ben, link, upload, take):
    """Whoever compares safety numbers takes no one-time key of anybody, however often."""
    second = link(ben)
    keys = DeviceKeys()
    body = keys.first(3)
    assert upload(ben, body).status_code == 204
    for _ in range(30):
        found = client.get(f"/v1/keys/{ben.account_id}/identities", headers=anna.headers)
        assert found.status_code == 200
    assert found.json == {
        "devices": [
            {
                "device_id": ben.device_id,
                "registration_id": keys.registration_id,
                "identity_key": body["identity_key"],
            }
        ],
        "without_keys": [second.device_id],
    }
    left = client.get("/v1/keys/count", headers=ben.headers).json
    assert left["one_time_prekeys"] == 3


def test_identities_of_the_own_account_and_of_nobody(client, anna, upload):
    """One's own devices are all there; an account that is not is not found."""
    assert upload(anna, DeviceKeys().first()).status_code == 204
    path = f"/v1/keys/{anna.account_id}/identities"
    own = client.get(path, headers=anna.headers).json
    assert [one["device_id"] for one in own["devices"]] == [anna.device_id]
    nobody = "/v1/keys/00000000-0000-4000-8000-000000000000/identities"
    assert problem_code(client.get(nobody, headers=anna.headers)) == "account-not-found"
