"""What is inside envelopes is written one way, padded, and read strictly."""

import msgspec
import pytest

from kith.messaging import formats
from kith.messaging.accounts import safety_number
from kith.messaging.formats import (
    EnvelopeUnreadable,
    InitialMessage,
    PayloadUnreadable,
    Receipt,
    SessionMessage,
    SessionRefresh,
    Text,
    Transcript,
)
from kith.messaging.key_agreement import KeyExchange
from tests.unit.kith.message_devices import new_id

FIRST = InitialMessage(1, 2, KeyExchange(b"i" * 32, b"e" * 32, b"c" * 1_568), 3, 4, 5, b"message")


@pytest.mark.parametrize(
    "envelope",
    [
        FIRST,
        FIRST._replace(exchange=KeyExchange(b"i" * 32, b"e" * 32, b""), kem_prekey_id=None),
        FIRST._replace(one_time_prekey_id=None, message=b""),
        SessionMessage(b"message"),
    ],
)
def test_envelopes_are_read_as_written(envelope: InitialMessage | SessionMessage) -> None:
    """Every form comes back as it was."""
    assert formats.decode_envelope(formats.encode_envelope(envelope)) == envelope


@pytest.mark.parametrize(
    "content",
    [b"", b"\x01", b"\x02\x02abc", b"\x01\x03abc", b"\x01\x00abc", b"\x01\x01" + bytes(83)],
)
def test_other_content_is_no_envelope(content: bytes) -> None:
    """Another version, another kind and half an envelope are refused."""
    with pytest.raises(EnvelopeUnreadable):
        formats.decode_envelope(content)


def test_half_a_kem_ciphertext_is_no_envelope() -> None:
    """What ends inside the ciphertext is refused."""
    with pytest.raises(EnvelopeUnreadable):
        formats.decode_envelope(formats.encode_envelope(FIRST)[: 2 + 84 + 1_567])


@pytest.mark.parametrize(
    "payload",
    [
        Text(b"i" * 16, "hello", 1_800_000_000_000),
        Text(b"i" * 16, "\x80\0\0 and 💬", 1, b"g" * 16),
        Transcript(b"a" * 16, Text(b"i" * 16, "hello", 1)),
        Receipt("read", [b"i" * 16, b"j" * 16]),
        SessionRefresh(),
    ],
)
def test_payloads_are_read_as_written(payload: formats.Payload) -> None:
    """Every kind comes back as it was."""
    assert formats.decode_payload(formats.encode_payload(payload)) == payload


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        bytes(160),
        formats.pad(b"garbage"),
        formats.pad(b"\x80"),
        formats.pad(b"\x81\xa4type\x03"),
        formats.pad(b"\x81\xa4type\xa4text"),
        formats.pad(b"\x81\xa4type\xaatranscript"),
    ],
)
def test_other_content_is_no_payload(content: bytes) -> None:
    """Wrong padding, no MessagePack, no type, and what should be shown but has no text are refused."""
    with pytest.raises(PayloadUnreadable):
        formats.decode_payload(content)


@pytest.mark.parametrize(
    "newer",
    [
        {"type": "sticker"},
        {"type": "", "id": b"i" * 16},
        {"type": "reaction", "to": b"i" * 16, "with": ["x", 1, None]},
        {"type": "receipt", "state": "played", "ids": [b"i" * 16]},
        {"type": "receipt"},
    ],
)
def test_types_of_newer_clients_are_ignored(newer: dict[str, object]) -> None:
    """A type that is not known, and a state that is not, say nothing to this client."""
    assert formats.decode_payload(formats.pad(msgspec.msgpack.encode(newer))) is None


@pytest.mark.parametrize(
    "payload",
    [
        Text(b"i" * 16, "hello", 1, b"g" * 16),
        Transcript(b"a" * 16, Text(b"i" * 16, "hello", 1)),
        Receipt("read", [b"i" * 16]),
        SessionRefresh(),
    ],
)
def test_members_of_newer_clients_are_ignored(payload: formats.Payload) -> None:
    """Whatever else is in a payload, also of a kind that is not known, changes nothing."""
    written = msgspec.to_builtins(payload, builtin_types=(bytes,))
    if "text" in written and isinstance(written["text"], dict):
        written["text"]["mood"] = {"deep": [b"x", None]}
    content = msgspec.msgpack.encode({"before": 1.5} | written | {"mentions": [{"at": 3}]})
    assert formats.decode_payload(formats.pad(content)) == payload


def test_lengths_tell_little() -> None:
    """Texts of all lengths up to a line are of one size."""
    sizes = {len(formats.encode_payload(Text(b"i" * 16, "x" * length, 1))) for length in range(90)}

    assert sizes == {160}
    for length in range(400):
        assert formats.unpad(formats.pad(b"\x80" * length)) == b"\x80" * length


def test_safety_numbers_are_the_same_for_both() -> None:
    """Both see one number, whatever the order of devices; another key makes another number."""
    ann, ben = new_id("ann"), new_id("ben")
    phone, laptop, key = b"p" * 32, b"l" * 32, b"b" * 32
    number = safety_number(ann, [phone, laptop], ben, [key])

    assert safety_number(ben, [key], ann, [laptop, phone]) == number
    assert [len(group) for group in number.split(" ")] == [5] * 12
    assert number.replace(" ", "").isdigit()
    others = {
        safety_number(ann, [phone], ben, [key]),
        safety_number(ann, [phone, laptop], ben, [b"e" * 32]),
        safety_number(ben, [phone, laptop], ann, [key]),
    }
    assert number not in others
    assert len(others) == 3
