"""The client of the stream keeps what comes, connects again, and knows when it is over."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
import simple_websocket
from click.testing import CliRunner
from werkzeug.serving import make_server
from wsproto.utilities import LocalProtocolError

from kith import Kith
from kith.cli import main
from kith.commands.output import note_lock_removal
from kith.commands.session import Dependencies
from kith.errors import KithUnreachable
from kith.messaging import stream as streaming
from kith.messaging.stream import Stream, StreamEnded
from kith.models import Missed
from kith.storage import Credentials, CredentialsFile
from tests.unit.kith.conftest import Run
from tests.unit.kith.message_devices import MessageDevice, new_id

Serve = Callable[[simple_websocket.Server], None]
PATIENCE = 10


class Sockets:
    """A WebSocket server that handles one connection after the other as scripted."""

    def __init__(self) -> None:
        """Listen."""
        self.turns: list[Serve | int] = []
        self.headers: list[dict[str, Any]] = []
        self.server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.server.log = lambda *_: None  # type: ignore[method-assign]
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,)).start()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.headers.append(environ)
        turn = self.turns.pop(0) if self.turns else 401
        if isinstance(turn, int):
            start_response(f"{turn} Refused", [("Content-Length", "0"), ("Connection", "close")])
            return []
        socket = simple_websocket.Server.accept(environ, subprotocols=[streaming.SUBPROTOCOL])
        assert msgspec.msgpack.decode(socket.receive(timeout=PATIENCE)) == {"type": "ping"}
        with suppress(simple_websocket.ConnectionClosed):
            turn(socket)
        raise ConnectionError  # or werkzeug would answer the request as well

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Return a server."""
    sockets = Sockets()
    yield sockets
    sockets.close()


@pytest.fixture
def stream(sockets: Sockets, ben: MessageDevice) -> Stream:
    """Return Ben's stream, which connects again at once."""
    ben.changed = []  # type: ignore[attr-defined]
    kith = Kith(sockets.address, ben.kith.device_token)
    return Stream(
        kith,
        ben.messenger,
        on_change=ben.changed.extend,  # type: ignore[attr-defined]
        min_pause=0.01,
    )


def frames(machine: MessageDevice) -> bytes:
    """Return what waits for a device as the stream writes it."""
    written = []
    for message in machine.kith.fetch_messages().messages:
        written.append(
            {
                "type": "message",
                "seq": message.seq,
                "id": UUID(message.id).bytes,
                "from_account_id": UUID(message.from_account_id).bytes,
                "from_device_id": UUID(message.from_device_id).bytes,
                "content": message.content,
                "sent_at": datetime.now(UTC),
                "request": False,
            }
        )
    ready = {
        "type": "ready",
        "device_id": bytes(16),
        "max_unacknowledged": 256,
        "max_message_bytes": 1,
    }
    return msgspec.msgpack.encode([ready, *written, {"type": "caught_up", "through": 1}])


def test_messages_are_kept_and_acknowledged(
    sockets: Sockets, stream: Stream, ann: MessageDevice, ben: MessageDevice
) -> None:
    """What comes is kept before it is acknowledged; the token travels in the header."""
    for text in ("1", "2"):
        ann.send(ben, text)
    acknowledged = []

    def serve(socket: simple_websocket.Server) -> None:
        socket.send(frames(ben))
        acknowledged.append(msgspec.msgpack.decode(socket.receive(timeout=PATIENCE)))
        acknowledged.append([entry.text for entry in ben.messenger.history.unread()])
        socket.close(4003)

    sockets.turns = [serve]
    with pytest.raises(StreamEnded, match="signed out"):
        stream.run()

    assert acknowledged == [{"type": "ack", "through": 2}, ["1", "2"]]
    assert [entry.text for entry in ben.changed] == ["1", "2"]  # type: ignore[attr-defined]
    assert sockets.headers[0]["HTTP_AUTHORIZATION"] == f"Bearer {ben.kith.device_token}"
    assert sockets.headers[0]["HTTP_SEC_WEBSOCKET_PROTOCOL"] == "kith.v1.msgpack"
    assert [one.state for one in ann.messenger.receive()] == ["delivered", "delivered"]


def test_a_broken_connection_is_gone_on_with(
    sockets: Sockets, stream: Stream, ann: MessageDevice, ben: MessageDevice
) -> None:
    """After a hang-up, an error of the server and garbage the next connection serves."""
    ann.send(ben, "1")

    def garbage(socket: simple_websocket.Server) -> None:
        socket.send(b"\xc1garbage")
        socket.receive(timeout=PATIENCE)

    def serve(socket: simple_websocket.Server) -> None:
        socket.send(frames(ben))
        socket.receive(timeout=PATIENCE)
        socket.close(4001)

    sockets.turns = [lambda socket: socket.close(1001), 503, garbage, serve]
    with pytest.raises(StreamEnded, match="instead"):
        stream.run()

    assert [entry.text for entry in ben.changed] == ["1"]  # type: ignore[attr-defined]
    assert sockets.turns == []


def test_a_refused_token_ends_it(sockets: Sockets, stream: Stream) -> None:
    """A device that is not signed in does not knock again."""
    with pytest.raises(StreamEnded, match="signed out"):
        stream.run()
    assert len(sockets.headers) == 1


def test_new_keys_are_published_when_they_run_low(
    sockets: Sockets, stream: Stream, ben: MessageDevice
) -> None:
    """The server's hint is followed at once."""
    kept = ben.message_server.keys[ben.device_id]
    kept["one_time_prekeys"] = []

    def serve(socket: simple_websocket.Server) -> None:
        low = {"type": "keys_low", "one_time_prekeys": 0, "one_time_kem_prekeys": 9}
        socket.send(msgspec.msgpack.encode([low, {"type": "something newer"}]))
        socket.send(frames(ben))
        socket.close(4003)

    sockets.turns = [serve]
    with pytest.raises(StreamEnded):
        stream.run()
    assert len(kept["one_time_prekeys"]) == 100


def test_it_can_be_stopped(sockets: Sockets, stream: Stream) -> None:
    """Another thread ends it."""
    connected = threading.Event()

    def serve(socket: simple_websocket.Server) -> None:
        connected.set()
        socket.receive(timeout=PATIENCE)

    sockets.turns = [serve]
    thread = threading.Thread(target=stream.run)
    thread.start()
    connected.wait(PATIENCE)
    stream.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_two_threads_may_close_at_the_same_time(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later one finds a connection that is closing, and says nothing about it."""

    class Closing:
        def close(self) -> None:
            raise LocalProtocolError("CloseConnection cannot be sent in state LOCAL_CLOSING.")

    monkeypatch.setattr(stream, "_socket", Closing())
    stream.stop()


def test_addresses_keep_what_they_have() -> None:
    """Https becomes wss, and a path of the server stays before the stream's."""
    assert Kith("https://a.test/b/").stream_address == "wss://a.test/b/v1/stream"
    assert Kith("http://a.test:81").stream_address == "ws://a.test:81/v1/stream"


def test_a_gap_is_kept_until_it_is_shown(
    sockets: Sockets, stream: Stream, ben: MessageDevice
) -> None:
    """What the server did not keep is told once, however often the server says it."""
    since = datetime(2026, 11, 1, tzinfo=UTC)

    def serve(socket: simple_websocket.Server) -> None:
        missed = {"type": "missed", "since": since, "through": 7}
        socket.send(msgspec.msgpack.encode([missed, missed]))
        socket.close(4003)

    sockets.turns = [serve]
    with pytest.raises(StreamEnded):
        stream.run()
    gap = ben.messenger.gap()
    assert gap is not None
    assert (gap.since, gap.through) == (int(since.timestamp() * 1_000), 7)
    ben.messenger.mark_gap_shown(gap)
    ben.messenger.record_gap(Missed(since, 7))
    assert ben.messenger.gap() is None
    ben.messenger.record_gap(Missed(since, 9))
    assert ben.messenger.gap() is not None


def test_the_removal_of_the_lock_is_told(sockets: Sockets, ben: MessageDevice) -> None:
    """When the account's PIN ends, and that it stays after all."""
    ends_at, told = datetime(2026, 11, 29, tzinfo=UTC), list[datetime | None]()

    def serve(socket: simple_websocket.Server) -> None:
        kind = "registration_lock_removal"
        told_twice = [{"type": kind, "ends_at": ends_at}, {"type": kind, "ends_at": None}]
        socket.send(msgspec.msgpack.encode(told_twice))
        socket.close(4003)

    sockets.turns = [serve]
    kith = Kith(sockets.address, ben.kith.device_token)
    with pytest.raises(StreamEnded):
        Stream(kith, ben.messenger, on_change=len, on_lock_removal=told.append).run()
    assert told == [ends_at, None]


def test_the_removal_of_the_lock_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """With what to do about it."""
    note_lock_removal(datetime(2026, 11, 29, tzinfo=UTC))
    note_lock_removal(None)
    said = capsys.readouterr().err
    assert "it ends on 2026-11-2" in said
    assert "kith lock keep" in said
    assert "stays" in said


def test_what_was_kept_goes_out_when_the_socket_is_open(
    sockets: Sockets, stream: Stream, ann: MessageDevice, ben: MessageDevice
) -> None:
    """Nobody has to enter another line for it."""

    def lose_sessions() -> None:
        raise httpx.ConnectError("down")

    ben.message_server.before_storing = lose_sessions
    with pytest.raises(KithUnreachable):
        ben.send(ann, "kept")
    ben.message_server.before_storing = lambda: None
    told: list[tuple[str | None, str]] = []
    ben.messenger.on_queued_result = lambda entry: told.append((entry.text, entry.state))

    sockets.turns = [lambda socket: socket.close(4003)]
    with pytest.raises(StreamEnded):
        stream.run()

    assert ann.texts() == ["kept"]
    assert told == [("kept", "sent")]


def test_a_line_that_was_kept_gets_its_mark(
    sockets: Sockets, ben: MessageDevice, credentials_path: Path, run: Run
) -> None:
    """It goes out before the next line, and the mark says which line it is of."""
    account_id, device_id = new_id("chatting account"), new_id("chatting device")
    ben.message_server.add(account_id, device_id)
    CredentialsFile(credentials_path).save(
        Credentials(
            sockets.address,
            account_id,
            device_id,
            "+4915112345678",
            f"kith_{account_id}_{device_id}",
        )
    )
    failures = iter([httpx.ConnectError("down")] * 3)

    def lose_sessions() -> None:
        for failure in failures:
            raise failure

    ben.message_server.before_storing = lose_sessions
    sockets.turns = [503] * 100  # the stream stays closed
    wiring = Dependencies(transport=ben.message_server, sleep=lambda _: None)
    shown = CliRunner().invoke(main, ["chat", ben.account_id], obj=wiring, input="two\nthree\n")

    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines() == [
        "… no answer; it is kept, and goes out later",
        "✓ two",
        "✓",
    ]
    assert ben.texts() == ["two", "three"]


def test_what_comes_in_does_not_wait_for_what_cannot_go_out(
    sockets: Sockets, stream: Stream, ann: MessageDevice, ben: MessageDevice
) -> None:
    """The socket serves although nothing can be sent over HTTP."""
    ann.send(ben, "1")

    def lose_sessions() -> None:
        raise httpx.ConnectError("down")

    ben.message_server.before_storing = lose_sessions
    with pytest.raises(KithUnreachable):
        ben.send(ann, "kept")

    def serve(socket: simple_websocket.Server) -> None:
        socket.send(frames(ben))
        socket.receive(timeout=PATIENCE)
        socket.close(4003)

    sockets.turns = [serve]
    with pytest.raises(StreamEnded):
        stream.run()
    assert [entry.text for entry in ben.changed] == ["1"]  # type: ignore[attr-defined]
