"""How frames are written: as JSON and as MessagePack, with the same fields.

What is no frame ends a socket. A frame of a type that is not known, and faults of fields, are answered one
by one: clients that are newer than the service must not lose their socket, or the frames beside it.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct
from wsproto.frame_protocol import CloseReason

from core.base64url import encode
from core.problems import InvalidFields, Problem
from messaging.mailbox.schemas import (
    BASE64URL,
    MAX_CONTENT_LENGTH,
    decode_content,
    read_message,
    require_whole,
)
from messaging.message_types import Delivery, MessageSubmission, Signal
from messaging.stream.frames import (
    MAX_SIGNAL_BYTES,
    Acknowledge,
    ClientId,
    Ephemeral,
    Fault,
    Frame,
    GroupAsOf,
    Incoming,
    MessageFrame,
    Name,
    Ping,
    Send,
    ShortText,
    SignalFrame,
)
from messaging.stream.problems import FrameUnsupported
from tokens.devices import Caller

#: Frames in one WebSocket message.
MAX_FRAMES = 256
DIGEST_SIZE = 32
#: Characters that are repeated of a type that is not known.
MAX_TYPE_LENGTH = 64
#: A fault may repeat the name of a field, which is as long as the client likes.
MAX_DETAIL_LENGTH = 120


class NotAFrame(Exception):
    """What came is not a frame of the subprotocol, and the socket ends; `code` is a close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


_TEXT = Annotated[str, Meta(min_length=2, max_length=MAX_CONTENT_LENGTH, pattern=BASE64URL)]
_SMALL_TEXT = Annotated[
    str, Meta(min_length=2, max_length=-(-MAX_SIGNAL_BYTES * 4 // 3), pattern=BASE64URL)
]
_TEXT_DIGEST = Annotated[str, Meta(min_length=43, max_length=43, pattern=BASE64URL)]
_BYTES = Annotated[bytes, Meta(min_length=1, max_length=MAX_CONTENT_LENGTH * 3 // 4)]
_SMALL_BYTES = Annotated[bytes, Meta(min_length=1, max_length=MAX_SIGNAL_BYTES)]
_BYTES_DIGEST = Annotated[bytes, Meta(min_length=DIGEST_SIZE, max_length=DIGEST_SIZE)]

_JSON_FRAME = Send[_TEXT, _TEXT_DIGEST] | Acknowledge | Ephemeral[_SMALL_TEXT] | Ping
_MSGPACK_FRAME = Send[_BYTES, _BYTES_DIGEST] | Acknowledge | Ephemeral[_SMALL_BYTES] | Ping


class _Typed(Struct):
    """As much of a frame as makes it one."""

    type: str


class _ClientId(Struct):
    client_id: ClientId | None = None


class _Id(Struct):
    id: ShortText | None = None


@dataclass(frozen=True)
class Codec:
    """One way to write frames: decoders for one or several, for one and for the parts of an array."""

    subprotocol: str
    #: The kind of WebSocket message that holds it.
    kind: type[str] | type[bytes]
    write: Callable[[Sequence[Frame]], str | bytes]
    #: Bytes as frames of this form hold them, and back.
    show: Callable[[bytes], str | bytes]
    content: Callable[[Any], bytes]
    _decode: Callable[[str | bytes], Any]
    _decode_one: Callable[[msgspec.Raw], Incoming]
    _decode_parts: Callable[[str | bytes], list[msgspec.Raw]]
    _decode_type: Callable[[msgspec.Raw], _Typed]
    _decode_client_id: Callable[[msgspec.Raw], _ClientId]
    _decode_id: Callable[[msgspec.Raw], _Id]

    def read(self, data: str | bytes) -> Sequence[Incoming | Fault]:
        """Read a WebSocket message; a frame with faults in it does not spoil the others.

        Raises NotAFrame.
        """
        if not isinstance(data, self.kind):
            raise NotAFrame(
                CloseReason.UNSUPPORTED_DATA, f"{self.subprotocol} is not sent like this"
            )
        try:
            frames = self._frames(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NotAFrame(CloseReason.INVALID_FRAME_PAYLOAD_DATA, str(error)) from None
        if len(frames) > MAX_FRAMES:
            raise NotAFrame(CloseReason.MESSAGE_TOO_BIG, f"at most {MAX_FRAMES} frames at once")
        return frames

    def _frames(self, data: str | bytes) -> Sequence[Incoming | Fault]:
        try:
            found = self._decode(data)
        except msgspec.ValidationError:
            # Once more, each by itself: to tell those with faults, and what is no frame at all.
            return [self._judge(part) for part in self._parts(data)]
        return found if isinstance(found, list) else [found]

    def _parts(self, data: str | bytes) -> Sequence[msgspec.Raw]:
        try:
            return self._decode_parts(data)
        except msgspec.ValidationError:
            return [msgspec.Raw(data)]

    def _judge(self, part: msgspec.Raw) -> Incoming | Fault:
        try:
            return self._decode_one(part)
        except msgspec.ValidationError as error:
            fault: Problem = _invalid(error)
        frame_type = self._decode_type(part).type
        if frame_type not in _TYPES:
            fault = FrameUnsupported("This service knows no frames of this type.")
        return Fault(self._name(frame_type, part), fault)

    def _name(self, frame_type: str, part: msgspec.Raw) -> Name:
        """Give what a refusal repeats of a frame, each as far as it is a short text."""
        client_id = id_ = None
        with suppress(msgspec.ValidationError):
            client_id = self._decode_client_id(part).client_id
        with suppress(msgspec.ValidationError):
            id_ = self._decode_id(part).id
        return Name(frame_type[:MAX_TYPE_LENGTH], client_id, id_)

    def outgoing(self, frame: Send[Any, Any], caller: Caller) -> MessageSubmission:
        """Give the message that a device sends; raises InvalidFields when its parts do not go together."""
        try:
            require_whole(frame)
        except ValueError as error:
            raise InvalidFields.at("", str(error)) from None
        return read_message(frame, self.content, caller)

    def message(self, delivery: Delivery) -> MessageFrame:
        """Write an envelope in a mailbox."""
        seq, message, content, is_request = delivery
        group = message.group
        return MessageFrame(
            seq,
            message.id,
            message.from_account_id,
            message.from_device_id,
            self.show(content),
            message.sent_at,
            is_request,
            UNSET if group is None else GroupAsOf(group.id, group.version),
        )

    def signal(self, signal: Signal) -> SignalFrame:
        """Write a signal."""
        return SignalFrame(
            signal.from_account_id,
            signal.from_device_id,
            self.show(signal.content),
            signal.sent_at,
        )


_TYPES = {"send", "ack", "ephemeral", "ping"}
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


def _invalid(error: msgspec.ValidationError) -> InvalidFields:
    """Turn msgspec's fault, whose text names types and bounds and no value, into the problem."""
    detail, _, where = str(error).partition(" - at `$")
    if "matching regex" in detail:
        # Which tells nobody what to do.
        detail = "is not of the form that the page on messages gives for it"
    pointer = "".join(f"/{name or index}" for name, index in _STEP.findall(where))
    return InvalidFields.at(pointer, detail[:MAX_DETAIL_LENGTH])


def _form(
    subprotocol: str,
    kind: type[str] | type[bytes],
    decoder: Callable[[Any], Any],
    frame: Any,
    write: Callable[[Sequence[Frame]], str | bytes],
    show: Callable[[bytes], str | bytes],
    content: Callable[[Any], bytes],
) -> Codec:
    return Codec(
        subprotocol,
        kind,
        write,
        show,
        content,
        decoder(frame | list[frame]).decode,
        decoder(frame).decode,
        decoder(list[msgspec.Raw]).decode,
        decoder(_Typed).decode,
        decoder(_ClientId).decode,
        decoder(_Id).decode,
    )


_write_json = msgspec.json.Encoder().encode
JSON = _form(
    "kith.v1.json",
    str,
    msgspec.json.Decoder,
    _JSON_FRAME,
    lambda frames: _write_json(frames).decode(),
    encode,
    decode_content,
)
MSGPACK = _form(
    "kith.v1.msgpack",
    bytes,
    msgspec.msgpack.Decoder,
    _MSGPACK_FRAME,
    msgspec.msgpack.Encoder(uuid_format="bytes").encode,
    lambda content: content,
    lambda content: content,
)
#: By subprotocol; the first is the default.
FORMS = {form.subprotocol: form for form in (JSON, MSGPACK)}
