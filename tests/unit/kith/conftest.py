"""Fixtures of the client's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kith import Kith
from kith.cli import main
from kith.commands.session import Dependencies
from kith.storage import Credentials, CredentialsFile
from kith.sync import Book, Outcome, State, gather, synchronise
from tests.unit.kith.canned import ACCOUNT, TOKEN, Script, ok
from tests.unit.kith.lookup_server import contact
from tests.unit.kith.message_devices import Clock, Make, MessageDevice
from tests.unit.kith.message_server import MessageServer

SERVER = "http://127.0.0.1:8000"

Run = Callable[..., Result]
Sync = Callable[..., tuple[Outcome, list[str]]]


@pytest.fixture
def script() -> Script:
    """Return a transport that answers only the requests of every new device."""
    own = {"devices": [], "without_keys": [ACCOUNT["device_id"]]}
    return (
        Script()
        .on("PUT /v1/keys", ok())
        .on(f"GET /v1/keys/{ACCOUNT['account_id']}/identities", ok(own))
    )


@pytest.fixture
def client(script: Script) -> Kith:
    """Return a client that speaks to the script."""
    return Kith("http://kith.test", TOKEN, transport=script, sleep=script.sleep)


@pytest.fixture
def credentials_path(tmp_path: Path) -> Path:
    """Return where the command keeps its credentials in this test."""
    return tmp_path / "config" / "kith" / "credentials.json"


@pytest.fixture
def signed_in(credentials_path: Path) -> Credentials:
    """Return credentials that are stored already."""
    credentials = Credentials(
        server=SERVER,
        account_id=ACCOUNT["account_id"],
        device_id=ACCOUNT["device_id"],
        phone_number=ACCOUNT["phone_number"],
        device_token=TOKEN,
    )
    CredentialsFile(credentials_path).save(credentials)
    return credentials


@pytest.fixture
def run(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a way to run `kith` against the script."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("KITH_SERVER", raising=False)
    for name in ("KITH_CREDENTIALS", "KITH_TOKEN", "KITH_TOKEN_FILE", "KITH_INSECURE"):
        monkeypatch.delenv(name, raising=False)

    def invoke(
        *arguments: str, stdin: str | bytes | None = None, env: dict[str, str] | None = None
    ) -> Result:
        wiring = Dependencies(transport=script, sleep=script.sleep)
        result = CliRunner(env=env).invoke(
            main, arguments, obj=wiring, input=stdin, prog_name="kith"
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def sync(client: Kith, tmp_path: Path) -> Sync:
    """Return a run over a book of some numbers, with the state of the runs before it."""

    def run(numbers: list[str]) -> tuple[Outcome, list[str]]:
        with Book() as book, State(tmp_path / "state.db") as state:
            gather([contact("N", number) for number in numbers], book, region=None)
            outcome = synchronise(client, book, state)
            return outcome, [match.phone_number for match in book.matches()]

    return run


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a factory of devices that can write to each other."""
    message_server, clock, made = MessageServer(), Clock(), list[MessageDevice]()

    def machine(name: str, *, owner: str = "", ready: bool = True) -> MessageDevice:
        made.append(MessageDevice(name, message_server, tmp_path, clock, owner))
        if ready:
            made[-1].messenger.prepare()
        return made[-1]

    yield machine
    for one in made:
        one.store.close()


@pytest.fixture
def ann(make: Make) -> MessageDevice:
    """Return a device of Ann's."""
    return make("ann")


@pytest.fixture
def ben(make: Make) -> MessageDevice:
    """Return a device of Ben's."""
    return make("ben")
