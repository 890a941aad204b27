"""Whatever order messages come in, and however often: each is read once, by whom it is for."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kith.messaging.ratchet import NotDecrypted
from tests.unit.kith.message_devices import Clock, MessageDevice
from tests.unit.kith.message_server import MessageServer

STEPS = st.lists(
    st.tuples(
        st.sampled_from(("say", "say", "hear", "hear", "repeat", "restart")), st.integers(0, 99)
    ),
    max_size=40,
)


@given(STEPS)
@settings(max_examples=30)
def test_each_message_is_read_once(steps: Sequence[tuple[str, int]]) -> None:
    """Two devices that may both begin, and whose messages overtake each other, understand all."""
    with tempfile.TemporaryDirectory() as name:
        message_server, clock = MessageServer(), Clock()
        pair = [MessageDevice(who, message_server, Path(name), clock) for who in ("ann", "ben")]
        for one in pair:
            one.keys.maintain(one.kith)
        waiting: list[tuple[int, bytes, bytes]] = []
        heard: list[tuple[int, bytes]] = []

        def encrypt_for(sender: int, text: bytes) -> None:
            machine, other = pair[sender], pair[1 - sender]
            known = machine.sessions.peer(other.account_id, other.device_id)
            content = (
                machine.first(other, text) if known is None else machine.encrypt_for(other, text)
            )
            waiting.append((1 - sender, text, content))

        for number, (step, choice) in enumerate(steps):
            if step == "say":
                encrypt_for(choice % 2, str(number).encode())
            elif step == "restart":
                pair[choice % 2].restart()
            elif step == "hear" and waiting:
                reader, text, content = waiting.pop(choice % len(waiting))
                assert pair[reader].decrypt_from(pair[1 - reader], content) == text
                heard.append((reader, content))
            elif step == "repeat" and heard:
                reader, content = heard[choice % len(heard)]
                try:
                    pair[reader].decrypt_from(pair[1 - reader], content)
                    raise AssertionError("it was read twice")
                except NotDecrypted:
                    pass
        for reader, text, content in waiting:
            assert pair[reader].decrypt_from(pair[1 - reader], content) == text
        for one in pair:
            one.store.close()
