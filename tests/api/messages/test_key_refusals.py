"""What unsound uploads of keys get: every fault by its place, and nothing of them is kept."""

import pytest

from core.base64url import encode
from tests.api.messages.conftest import pointers
from tests.device_keys import KEM_KEY_SIZE, DeviceKeys

#: Points of low order (RFC 7748 section 6.1), with which every secret is zero.
LOW_ORDER = (
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    (2**255 - 19).to_bytes(32, "little"),
)
#: The neutral element, a point of order 4, and one that is on no curve.
NO_IDENTITY = (b"\x01" + bytes(31), bytes(32), b"\xff" * 32)


@pytest.fixture
def keys():
    """The keys of one device."""
    return DeviceKeys()


@pytest.fixture
def refused(client, ben, upload, take):
    """Upload what is refused; give the fields, once it is certain that nothing changed."""

    def refused(body):
        before = client.get("/v1/keys/count", headers=ben.headers).json
        named = pointers(upload(ben, body))
        assert client.get("/v1/keys/count", headers=ben.headers).json == before
        return named

    return refused


def test_the_first_upload_is_whole(keys, refused, take, ben):
    """What is missing is named, all at once."""
    assert refused({}) == ["/registration_id", "/identity_key", "/signed_prekey"]
    body = keys.first(2, 2)
    for name in ("registration_id", "identity_key", "signed_prekey"):
        assert refused({key: body[key] for key in body if key != name}) == [f"/{name}"]
    assert take(ben).json == {"devices": [], "without_keys": [ben.device_id]}


def test_a_new_identity_key_needs_a_new_registration_id_and_signed_prekey(
    keys, upload, refused, ben
):
    """Sessions under the old one would go on unnoticed."""
    upload(ben, keys.first(1))
    other = DeviceKeys().first()
    assert refused({"identity_key": other["identity_key"]}) == ["/registration_id"]
    assert refused(other) == ["/registration_id"]
    assert refused({"registration_id": 8}) == ["/signed_prekey"]
    assert refused(other | {"registration_id": 8, "signed_prekey": keys.signed()}) == [
        "/signed_prekey/signature"
    ]


def test_one_time_kem_keys_need_a_last_resort(keys, upload, refused, ben):
    """One that is uploaded with them, or was before under the same registration id."""
    kem = [keys.kem()]
    assert refused(keys.first(one_time_kem_prekeys=kem)) == ["/last_resort_kem_prekey"]
    upload(ben, keys.first(last_resort_kem_prekey=keys.kem()))
    assert upload(ben, {"one_time_kem_prekeys": kem}).status_code == 204
    anew = {"registration_id": 8, "signed_prekey": keys.signed(), "one_time_kem_prekeys": kem}
    assert refused(anew) == ["/last_resort_kem_prekey"]


def test_a_key_id_names_one_key(keys, upload, refused, ben):
    """Of one kind; the last resort and the one-time KEM keys are of one."""
    prekey, last_resort = keys.prekey(), keys.kem()
    first = keys.first(last_resort_kem_prekey=last_resort)
    again = keys.prekey() | {"key_id": prekey["key_id"]}
    assert refused(first | {"one_time_prekeys": [prekey, keys.prekey(), again]}) == [
        "/one_time_prekeys/2/key_id"
    ]
    assert refused(first | {"one_time_kem_prekeys": [last_resort]}) == [
        "/one_time_kem_prekeys/0/key_id"
    ]
    upload(ben, first)
    assert refused({"one_time_kem_prekeys": [last_resort]}) == ["/one_time_kem_prekeys/0/key_id"]


def test_every_wrong_signature_is_named(keys, refused):
    """Also one over the same bytes as a key of another kind, and one of another device."""
    body = keys.first(0, 4)
    stranger = DeviceKeys()
    kem = body["one_time_kem_prekeys"]
    kem[1] = stranger.sign(kem[1], b"\x02", KEM_KEY_SIZE)
    kem[3] = keys.sign(kem[3], b"\x01", KEM_KEY_SIZE)
    body["signed_prekey"] = keys.sign(body["signed_prekey"], b"\x02", 32)
    body["last_resort_kem_prekey"]["signature"] = encode(bytes(64))
    assert refused(body) == [
        "/signed_prekey/signature",
        "/last_resort_kem_prekey/signature",
        "/one_time_kem_prekeys/1/signature",
        "/one_time_kem_prekeys/3/signature",
    ]


def test_of_many_faults_the_first_twenty_are_named(keys, upload, ben):
    """An answer stays short."""
    body = keys.first(0, 100)
    for key in body["one_time_kem_prekeys"]:
        key["signature"] = encode(bytes(64))
    answer = upload(ben, body)
    assert len(pointers(answer)) == 20
    assert "(and 99 more)" in answer.json["detail"]


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point[:4].hex())
def test_keys_of_low_order_are_refused(keys, refused, point):
    """Every session with them would have the same secret."""
    key = {"key_id": 1, "public_key": encode(point)}
    signed = keys.sign(key, b"\x01", 32)
    assert refused(keys.first(signed_prekey=signed, one_time_prekeys=[key])) == [
        "/signed_prekey/public_key",
        "/one_time_prekeys/0/public_key",
    ]


@pytest.mark.parametrize("point", NO_IDENTITY, ids=lambda point: point[:4].hex())
def test_an_identity_is_a_point_of_the_group(keys, refused, point):
    """Under others signatures say nothing."""
    assert refused(keys.first(identity_key=encode(point))) == ["/identity_key"]


def test_a_kem_key_is_below_the_modulus(keys, refused):
    """A coefficient of 4,095 is none (FIPS 203 section 7.2), whatever signs it."""
    body = keys.first(0, 1)
    key = {"key_id": 99, "public_key": encode(b"\xff" * KEM_KEY_SIZE)}
    body["one_time_kem_prekeys"].append(keys.sign(key, b"\x02", KEM_KEY_SIZE))
    assert refused(body) == ["/one_time_kem_prekeys/1/public_key"]


def test_lengths_and_spelling_are_exact(keys, refused):
    """A byte more or less, padding, another alphabet, spare bits that are set, no text at all."""
    right = encode(b"\x07" * 32)
    for wrong in (
        right[:-1],
        right + "A",
        right + "=",
        right[:-1] + "d",
        "+" * 43,
        "é" * 43,
        "",
        7,
    ):
        assert refused(keys.first(identity_key=wrong)) == ["/identity_key"], wrong
    body = keys.first(1, 1)
    body["signed_prekey"]["signature"] += "AA"
    body["one_time_kem_prekeys"][0]["public_key"] = right
    body["one_time_prekeys"][0]["signature"] = right
    assert refused(body) == [
        "/signed_prekey/signature",
        "/one_time_prekeys/0/signature",
        "/one_time_kem_prekeys/0/public_key",
    ]


def test_numbers_and_lists_are_bounded(keys, refused):
    """Ids have 31 bits, and a list has 1 to 100 keys."""
    for value in (0, -1, 2**31, 1.5, "7", True):
        assert refused(keys.first(registration_id=value)) == ["/registration_id"], value
    for value in (-1, 2**31):
        one = [keys.prekey() | {"key_id": value}]
        assert refused(keys.first(one_time_prekeys=one)) == ["/one_time_prekeys/0/key_id"]
    for number in (0, 101):
        many = [keys.prekey() for _ in range(number)]
        assert refused(keys.first(one_time_prekeys=many)) == ["/one_time_prekeys"]


def test_the_most_that_an_upload_may_hold_is_taken(keys, upload, ben):
    """A hundred keys of each kind fit into a body, with the highest ids there are."""
    body = keys.first(100, 100)
    body["one_time_prekeys"][99]["key_id"] = 2**31 - 1
    assert upload(ben, body | {"registration_id": 2**31 - 1}).status_code == 204


def test_a_device_is_asked_for_by_its_id(client, ben, take):
    """Anything else in the query is refused by its name."""
    for query in ({"device_id": "x"}, {"device_id": ""}, {"device": ben.device_id}):
        assert pointers(take(ben, **query)) == [f"?/{next(iter(query))}"]
