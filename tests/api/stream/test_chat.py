"""`kith chat` in a process of its own, over the socket of the served application."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kith import Kith
from kith.messaging.messenger import Messenger
from kith.messaging.store import Store
from kith.messaging.store_encryption import UnlockMethod
from kith.storage import Credentials, CredentialsFile
from tests.conftest import OTHER_NUMBER

PATIENCE = 30


@pytest.fixture
def server(address):
    """The address of the served application."""
    return f"http://{address[0]}:{address[1]}"


@pytest.fixture
def bob(register, server, tmp_path):
    """The messenger of somebody who is in touch with everybody who writes."""
    person = register(OTHER_NUMBER)
    with (
        Kith(server, person.token) as kith,
        Store(tmp_path / "bob.db", UnlockMethod(tmp_path / "bob.key")) as store,
    ):
        messenger = Messenger(kith, store, person.account_id, person.device_id)
        messenger.prepare()
        messenger.account_id, messenger.kith = person.account_id, kith
        yield messenger


@contextmanager
def chat(person, server, tmp_path: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    """Chat as a person until the end of the block."""
    file = CredentialsFile(tmp_path / "config" / "alice.json")
    file.save(
        Credentials(server, person.account_id, person.device_id, person.phone_number, person.token)
    )
    environment = {
        **os.environ,
        "KITH_CREDENTIALS": str(file.path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "PYTHONUTF8": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "kith", "chat", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[3],
    ) as process:
        try:
            yield process
            _, errors = process.communicate(timeout=PATIENCE)
            assert (process.returncode, errors) == (0, "")
        finally:
            process.kill()


def test_a_live_conversation(register, bob, server, tmp_path):
    """Lines are sent and marked; an answer, and the marks of it, come over the socket."""
    alice = register()
    with chat(alice, server, tmp_path, bob.account_id) as process:
        process.stdin.write("hello\n")
        process.stdin.flush()
        assert process.stdout.readline() == "✓\n"
        bob.kith.accept(alice.account_id)
        (got,) = bob.receive(wait=10)
        assert got.text == "hello"
        bob.send(alice.account_id, "hi there")
        bob.mark_shown([got], send_receipts=True)
        assert process.stdout.readline().endswith(": hi there\n")
        process.stdin.write("bye\n")
        process.stdin.flush()
        assert process.stdout.readline() == "✓\n"
        while "bye" not in [entry.text for entry in bob.history.unread()]:
            bob.receive(wait=10)
        lines = iter(process.stdout.readline, "")
        assert next(line for line in lines if "bye" in line) == "✓✓ bye\n"
    bob.receive()
    assert bob.history.newest(alice.account_id, 9)[1].state == "read"
