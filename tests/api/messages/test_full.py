"""A full disk drains: what only adds is refused in words, and what makes room goes on."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from core.base64url import encode
from core.database import Database
from core.storage import FULL_SECONDS, MARGIN_BYTES, RemoteStorage
from tests.conftest import NUMBER, OTHER_NUMBER, problem_code
from tests.databases import fresh_database_url
from tests.device_keys import DeviceKeys
from tests.matrix import Homeserver, MatrixClient, fault, make_matrix_app

MANY = 2**20


@pytest.fixture
def room():
    """What the database says of its room, and the time it goes by."""
    now = [0.0]
    room = RemoteStorage(lambda: now[0])
    room.pass_time = lambda: now.__setitem__(0, now[0] + FULL_SECONDS)
    return room


@pytest.fixture
def homeserver():
    """A homeserver that vouches for its users."""
    with Homeserver() as homeserver:
        yield homeserver


@pytest.fixture
def app(make_app, database_url, room):
    """The application on a database whose room is told by the test."""
    return make_app({"database": Database(database_url, storage=room)})


def refused(response):
    """Say whether something was refused for want of room, and when to come again."""
    return response.status_code == 503 and (
        problem_code(response) == "storage-full" and response.headers["Retry-After"] == "60"
    )


def health(client):
    """Give what monitors see."""
    ready = client.get("/readyz")
    (gauge,) = [
        line
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("kith_storage_reserve ")
    ]
    return ready.status_code, ready.json["storage"], float(gauge.split()[1])


@pytest.fixture
def adding(client, anna, ben, send, upload):
    """Everything that only adds, each time anew."""
    return {
        "a message": lambda: send(ben),
        "keys": lambda: upload(anna, DeviceKeys().first(1, 1)),
        "a verification": lambda: client.post("/v1/verifications", json={"phone_number": NUMBER}),
        "a link": lambda: client.post("/v1/device-links", headers=anna.headers),
        "a group": lambda: client.post(
            "/v1/groups",
            json={"name": "all", "members": [ben.account_id]},
            headers=anna.headers,
        ),
        "accepting": lambda: client.put(
            f"/v1/contacts/{anna.account_id}", json={"state": "accepted"}, headers=ben.headers
        ),
        "a token": lambda: client.post("/v1/tokens/rotate", headers=anna.headers),
    }


def test_what_only_adds_is_refused(client, room, adding, verify, send, ben, fetch):
    """At every route that does, with when to come again; nothing is counted or begun."""
    proven = verify(OTHER_NUMBER)
    assert send(ben).status_code == 202
    room.note_full()
    for what, add in adding.items():
        assert refused(add()), what
    assert refused(client.post("/v1/registrations", json={"verification_id": proven}))
    assert health(client) == (200, "reserve", 1)
    room.pass_time()
    assert health(client) == (200, "ok", 0)
    assert client.post("/v1/registrations", json={"verification_id": proven}).status_code == 201
    assert send(ben).status_code == 202
    assert len(fetch(ben)["messages"]) == 2


def test_what_makes_room_goes_on(client, room, anna, ben, send, fetch, acknowledge, link, verify):
    """Fetching, acknowledging, ending and deleting, and what was begun comes to its end."""
    started = client.post("/v1/verifications", json={"phone_number": NUMBER}).json["id"]
    other = link(ben)
    assert send(ben, ben, other).status_code == 202
    room.note_full()
    (message,) = fetch(ben)["messages"]
    assert acknowledge(ben, message["seq"]).status_code == 204
    assert fetch(ben)["messages"] == []
    check = client.post(f"/v1/verifications/{started}/checks", json={"code": "000000"})
    assert problem_code(check) == "code-rejected"
    assert client.delete(f"/v1/verifications/{started}").status_code == 204
    block = {"state": "blocked"}
    path = f"/v1/contacts/{anna.account_id}"
    assert client.put(path, json=block, headers=ben.headers).status_code == 204
    device = f"/v1/devices/{other.device_id}"
    assert client.delete(device, headers=ben.headers).status_code == 204
    assert client.delete("/v1/account", headers=ben.headers).status_code == 204
    assert client.application.extensions["kith"].maintenance.run() is not None


def test_a_device_returns_to_drain(
    client, room, anna, ben, send, upload, verify, fetch, acknowledge
):
    """Its tokens were revoked, and its mailbox is full of what only it can acknowledge."""
    keys = DeviceKeys()
    assert upload(ben, keys.first(1, 1)).status_code == 204
    assert send(ben).status_code == 202
    proven = verify(ben.phone_number)
    room.note_full()
    assert refused(client.post("/v1/registrations", json={"verification_id": proven}))
    signature = encode(keys.identity.sign(b"\x03" + proven.encode()).signature)
    recover = {"device_id": ben.device_id, "signature": signature}
    body = {"verification_id": proven, "recover_device": recover}
    done = client.post("/v1/registrations", json=body)
    assert (done.status_code, done.json["device_id"]) == (201, ben.device_id)
    ben.headers["Authorization"] = f"Bearer {done.json['device_token']}"
    (message,) = fetch(ben)["messages"]
    assert acknowledge(ben, message["seq"]).status_code == 204
    assert fetch(ben)["messages"] == []


def test_other_doors_say_it_in_their_own_form(make_app, database_url, room, homeserver):
    """Matrix has no word for it; what is served is the same."""
    matrix_app = make_matrix_app(make_app, {"database": Database(database_url, storage=room)})
    who = MatrixClient.register(matrix_app, homeserver)
    room.note_full()
    assert fault(who.request_token()) == (503, "M_UNKNOWN")


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_server_that_is_full_says_so(
    client, database, room, anna, ben, send, fetch, acknowledge, app
):
    """One message is refused by the server and the next without asking; an acknowledgement is stored."""
    assert send(ben).status_code == 202
    with database.write() as connection:
        connection.execute(
            text(
                "CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$"
            )
        )
        for name in ("envelopes", "verifications"):
            connection.execute(
                text(
                    f"CREATE TRIGGER full_disk BEFORE INSERT ON {name} EXECUTE FUNCTION full_disk()"
                )
            )
    try:
        assert refused(send(ben))
        assert health(client) == (200, "reserve", 1)
        assert acknowledge(ben, fetch(ben)["messages"][0]["seq"]).status_code == 204
        room.pass_time()
        assert refused(client.post("/v1/verifications", json={"phone_number": NUMBER}))
        assert room.low()
    finally:
        with database.write() as connection:
            for name in ("envelopes", "verifications"):
                connection.execute(text(f"DROP TRIGGER full_disk ON {name}"))
    assert refused(send(ben))
    room.pass_time()
    assert send(ben).status_code == 202


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 100 MiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk of its own: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Write until there is no byte left."""
    path = place / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(os.urandom(MANY))
        except OSError:
            pass
        try:
            while True:
                file.write(b"x")
        except OSError:
            return path


class TestADiskThatIsReallyFull:
    """SQLite on a disk of its own, which somebody else fills to the last byte."""

    @pytest.fixture
    def dialect(self):
        """SQLite only."""
        return "sqlite"

    @pytest.fixture
    def database_url(self, small_disk):
        """A database on that disk."""
        return fresh_database_url("sqlite", small_disk)

    @pytest.fixture
    def app(self, make_app, database_url):
        """The application, as it runs in a worker: it keeps a reserve."""
        app = make_app({"database": Database(database_url, reserve=8 * MANY)})
        app.extensions["kith"].runtime.database.storage.start()
        return app

    def test_it_drains(self, client, small_disk, anna, ben, send, fetch, acknowledge, link, app):
        """Messages are refused; all of them are acknowledged; accounts are deleted; then it goes on."""
        content = os.urandom(60_000)
        for _ in range(8):
            assert send(ben, content=content).status_code == 202
        assert health(client) == (200, "ok", 0)
        filler = fill(small_disk)
        # Between two looks at the disk it is the database that finds out.
        answers = [send(ben, content=content) for _ in range(3)]
        assert refused(answers[-1])
        assert health(client) == (200, "reserve", 1)
        # Whoever fills the disk takes what was given up as well, but for what draining needs.
        for _ in range(4):
            messages = fetch(ben, limit=2)["messages"]
            assert acknowledge(ben, messages[-1]["seq"]).status_code == 204
        rest = fetch(ben)["messages"]
        assert len(rest) <= 2
        assert client.delete("/v1/account", headers=ben.headers).status_code == 204
        filler.unlink()
        time.sleep(1.1)
        assert health(client) == (200, "ok", 0)
        assert os.statvfs(small_disk).f_bavail * 4096 > MARGIN_BYTES
        carla = link(anna)
        assert send(anna, carla, content=content).status_code == 202
