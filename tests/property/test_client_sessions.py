"""Whatever order messages come in, and however often: each is read once, by whom it is for."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kith.messaging.ratchet import NotDecrypted
from tests.unit.kith.messaging_people import Clock, Machine
from tests.unit.kith.post_office import PostOffice

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
        office, clock = PostOffice(), Clock()
        pair = [Machine(who, office, Path(name), clock) for who in ("ann", "ben")]
        for one in pair:
            one.keys.maintain(one.kith)
        waiting: list[tuple[int, bytes, bytes]] = []
        heard: list[tuple[int, bytes]] = []

        def say(sender: int, text: bytes) -> None:
            machine, other = pair[sender], pair[1 - sender]
            known = machine.sessions.peer(other.account_id, other.device_id)
            content = machine.first(other, text) if known is None else machine.say(other, text)
            waiting.append((1 - sender, text, content))

        for number, (step, choice) in enumerate(steps):
            if step == "say":
                say(choice % 2, str(number).encode())
            elif step == "restart":
                pair[choice % 2].restart()
            elif step == "hear" and waiting:
                reader, text, content = waiting.pop(choice % len(waiting))
                assert pair[reader].hear(pair[1 - reader], content) == text
                heard.append((reader, content))
            elif step == "repeat" and heard:
                reader, content = heard[choice % len(heard)]
                try:
                    pair[reader].hear(pair[1 - reader], content)
                    raise AssertionError("it was read twice")
                except NotDecrypted:
                    pass
        for reader, text, content in waiting:
            assert pair[reader].hear(pair[1 - reader], content) == text
        for one in pair:
            one.store.close()
