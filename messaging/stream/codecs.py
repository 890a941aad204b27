"""The codecs of frames: JSON and MessagePack, with the same fields.

A WebSocket message that is no frame ends the socket. A frame of an unknown type or with invalid fields is
refused by itself: a client newer than the service must not lose its socket, or the frames beside it.
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
    check_message,
    decode_content,
    read_message,
)
from messaging.message_types import Delivery, MessageSubmission, Signal
from messaging.stream.frames import (
    MAX_SIGNAL_BYTES,
    AckFrame,
    ClientId,
    EphemeralFrame,
    Frame,
    FrameReference,
    GroupReference,
    IncomingFrame,
    InvalidFrame,
    MessageFrame,
    PingFrame,
    SendFrame,
    ShortText,
    SignalFrame,
)
from messaging.stream.problems import FrameUnsupported
from messaging.stream.websocket import ProtocolViolation
from tokens.devices import Caller

#: Frames in one WebSocket message.
MAX_FRAMES = 256
DIGEST_BYTES = 32
#: Characters of an unknown type that a refusal repeats.
MAX_TYPE_LENGTH = 64
#: An error may repeat the name of a field, which is as long as the client likes.
MAX_DETAIL_LENGTH = 120
FRAME_TYPES = frozenset({"send", "ack", "ephemeral", "ping"})

_Text = Annotated[str, Meta(min_length=2, max_length=MAX_CONTENT_LENGTH, pattern=BASE64URL)]
_SignalText = Annotated[
    str, Meta(min_length=2, max_length=-(-MAX_SIGNAL_BYTES * 4 // 3), pattern=BASE64URL)
]
_DigestText = Annotated[str, Meta(min_length=43, max_length=43, pattern=BASE64URL)]
_Bytes = Annotated[bytes, Meta(min_length=1, max_length=MAX_CONTENT_LENGTH * 3 // 4)]
_SignalBytes = Annotated[bytes, Meta(min_length=1, max_length=MAX_SIGNAL_BYTES)]
_DigestBytes = Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]

_JsonFrame = SendFrame[_Text, _DigestText] | AckFrame | EphemeralFrame[_SignalText] | PingFrame
_MsgpackFrame = (
    SendFrame[_Bytes, _DigestBytes] | AckFrame | EphemeralFrame[_SignalBytes] | PingFrame
)


class _Type(Struct):
    type: str


class _ClientId(Struct):
    client_id: ClientId | None = None


class _Id(Struct):
    id: ShortText | None = None


@dataclass(eq=False)
class Codec:
    """One encoding of frames."""

    subprotocol: str
    #: The type of WebSocket message that carries it.
    message_type: type[str] | type[bytes]
    decoder: Callable[[Any], Any]
    #: The frames that a client may send.
    incoming: Any
    encode: Callable[[Sequence[Frame]], str | bytes]
    #: Between bytes and how frames carry them.
    encode_content: Callable[[bytes], str | bytes]
    decode_content: Callable[[Any], bytes]

    def __post_init__(self) -> None:
        """Make the decoders: of a message, of one frame, of an array into its parts, and of single fields."""
        frame: Any = self.incoming
        self._decode_message = self.decoder(frame | list[frame]).decode
        self._decode_frame = self.decoder(frame).decode
        self._decode_array = self.decoder(list[msgspec.Raw]).decode
        self._decode_type = self.decoder(_Type).decode
        self._decode_client_id = self.decoder(_ClientId).decode
        self._decode_id = self.decoder(_Id).decode

    def decode(self, data: str | bytes) -> Sequence[IncomingFrame | InvalidFrame]:
        """Decode a WebSocket message; an invalid frame does not spoil the others.

        Raises ProtocolViolation.
        """
        if not isinstance(data, self.message_type):
            reason = f"{self.subprotocol} is not sent like this"
            raise ProtocolViolation(CloseReason.UNSUPPORTED_DATA, reason)
        try:
            frames = self._decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolViolation(CloseReason.INVALID_FRAME_PAYLOAD_DATA, str(error)) from None
        if len(frames) > MAX_FRAMES:
            reason = f"at most {MAX_FRAMES} frames at once"
            raise ProtocolViolation(CloseReason.MESSAGE_TOO_BIG, reason)
        return frames

    def _decode(self, data: str | bytes) -> Sequence[IncomingFrame | InvalidFrame]:
        try:
            found = self._decode_message(data)
        except msgspec.ValidationError:
            pass
        else:
            return found if isinstance(found, list) else [found]
        # Once more, each by itself, to find the invalid ones and what is no frame at all.
        try:
            parts = self._decode_array(data)
        except msgspec.ValidationError:
            parts = [msgspec.Raw(data)]
        return [self._decode_part(part) for part in parts]

    def _decode_part(self, part: msgspec.Raw) -> IncomingFrame | InvalidFrame:
        try:
            frame: IncomingFrame = self._decode_frame(part)
            return frame
        except msgspec.ValidationError as error:
            problem: Problem = _invalid_fields(error)
        frame_type = self._decode_type(part).type
        if frame_type not in FRAME_TYPES:
            problem = FrameUnsupported("This service knows no frames of this type.")
        # Repeated as far as they are short texts.
        client_id = id_ = None
        with suppress(msgspec.ValidationError):
            client_id = self._decode_client_id(part).client_id
        with suppress(msgspec.ValidationError):
            id_ = self._decode_id(part).id
        return InvalidFrame(FrameReference(frame_type[:MAX_TYPE_LENGTH], client_id, id_), problem)

    def outgoing(self, frame: SendFrame[Any, Any], caller: Caller) -> MessageSubmission:
        """Return the message that a device sends; raises InvalidFields when its fields contradict."""
        try:
            check_message(frame)
        except ValueError as error:
            raise InvalidFields.at("", str(error)) from None
        return read_message(frame, self.decode_content, caller)

    def message_frame(self, delivery: Delivery) -> MessageFrame:
        """Return the frame of a message in a mailbox."""
        seq, message, content, is_request = delivery
        group = message.group
        return MessageFrame(
            seq,
            message.id,
            message.from_account_id,
            message.from_device_id,
            self.encode_content(content),
            message.sent_at,
            is_request,
            UNSET if group is None else GroupReference(group.id, group.version),
        )

    def signal_frame(self, signal: Signal) -> SignalFrame:
        """Return the frame of a signal."""
        content = self.encode_content(signal.content)
        return SignalFrame(signal.from_account_id, signal.from_device_id, content, signal.sent_at)


_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


def _invalid_fields(error: msgspec.ValidationError) -> InvalidFields:
    """Return the problem of an error by msgspec, whose text names types and bounds and no value."""
    detail, _, where = str(error).partition(" - at `$")
    if "matching regex" in detail:
        detail = "is not of the form that the page on messages gives for it"
    pointer = "".join(f"/{name or index}" for name, index in _STEP.findall(where))
    return InvalidFields.at(pointer, detail[:MAX_DETAIL_LENGTH])


_encode_json = msgspec.json.Encoder().encode
JSON = Codec(
    "kith.v1.json",
    str,
    msgspec.json.Decoder,
    _JsonFrame,
    lambda frames: _encode_json(frames).decode(),
    encode,
    decode_content,
)
MSGPACK = Codec(
    "kith.v1.msgpack",
    bytes,
    msgspec.msgpack.Decoder,
    _MsgpackFrame,
    msgspec.msgpack.Encoder(uuid_format="bytes").encode,
    bytes,
    bytes,
)
#: By subprotocol; the first is the default.
CODECS = {codec.subprotocol: codec for codec in (JSON, MSGPACK)}
