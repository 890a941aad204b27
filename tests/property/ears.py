"""An open socket in the hands of a property test: what it was told, held against what it should be."""

import base64
from typing import Any

from tests.property.mailbox_model import Device, Document
from tests.sockets import Closed, TestSocket

#: What a socket is told beside messages and marks.
_BESIDE = {"keys_low", "group_changed", "missed"}


class Ear:
    """A device's socket, and how far it has heard."""

    def __init__(self, device: Device, address: tuple[str, int], subprotocol: str) -> None:
        """Open it, and read whether it is told all that waits, in order, and then the true mark."""
        token = device.headers["Authorization"]
        self.device = device
        self.socket = TestSocket(address, subprotocol, Authorization=token)
        self._heard = 0
        assert self.socket.expect("ready")["device_id"] == device.id
        self._caught_up = False

    def hear_what_waits(self, waiting: list[Document]) -> None:
        """Read what waited when it was opened, and the mark behind it."""
        self.hear(waiting)
        while not self._caught_up:
            assert self._next()["type"] != "message"
        # What expired was never told, and will not be.
        self._heard = self.device.last

    def hear(self, messages: list[Document]) -> None:
        """Read just these messages, without anything else that would make the service look."""
        came: list[Document] = []
        while len(came) < len(messages):
            frame = self._next()
            if frame.pop("type") == "message":
                came.append(frame)
        assert came == [_as_frame(message) for message in messages]
        self._heard = max([self._heard, *(message["seq"] for message in messages)])

    def hear_news(self) -> None:
        """Read what was stored since, and that nothing else comes."""
        waiting = [one.shown for one in self.device.waiting]
        self.hear([message for message in waiting if message["seq"] > self._heard])

    def is_quiet(self) -> bool:
        """Say whether nothing comes but the answer to a ping."""
        self.socket.send({"type": "ping", "id": "quiet"})
        while (frame := self._next())["type"] == "caught_up":
            pass
        return frame == {"type": "pong", "id": "quiet"}

    def ask(self, frame: Document, *answers: str) -> Document:
        """Send a frame, and give its answer."""
        self.socket.send(frame)
        while (answer := self._next())["type"] not in answers:
            assert answer["type"] == "caught_up", answer
        return answer

    def _next(self) -> dict[str, Any]:
        """Give the next frame of interest."""
        while (frame := self.socket.receive())["type"] in _BESIDE:
            pass
        if frame["type"] == "caught_up":
            # What waited was read to its end; a later mark may be of the middle of what is stored at once.
            least = self._heard if self._caught_up else self.device.last
            assert least <= frame["through"] <= self.device.last, frame
            self._caught_up = True
        return frame

    def closing(self) -> Closed:
        """Wait until the service closes it."""
        return self.socket.closing()

    def drop(self) -> None:
        """Hang up without a word."""
        self.socket.close()


def _as_frame(message: Document) -> Document:
    """Turn a message, as HTTP shows it, into what a socket of tests gives."""
    content = base64.urlsafe_b64decode(message["content"] + "==")
    frame = message | {"content": content}
    return {name: value for name, value in frame.items() if value is not None}
