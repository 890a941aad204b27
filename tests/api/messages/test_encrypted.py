"""`kith send`, `inbox`, `keys` and `groups` against the service, as people use them."""

import json

import pytest

from kith.messaging.history import Entry
from tests.api.messages.devices import Terminal

ANNA, BEN, CARLA = "+4915112345601", "+4915112345602", "+4915112345603"


@pytest.fixture
def app(make_app):
    """The application, whose log is not mixed with the command's output."""
    return make_app(log_level="error")


@pytest.fixture
def terminal(app, tmp_path, monkeypatch):
    """Register a number, or link another device of a terminal's account."""
    for name in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))

    def make(profile, number=None, beside=None):
        made = Terminal(app, profile)
        if beside is None:
            made.run("register", number, "--dev", "--replace")
        else:
            made.run("link", beside.json("devices", "link")["link_code"])
        return made

    return make


@pytest.fixture
def anna(terminal):
    """A device of Anna's, who knows the others by name."""
    anna = terminal("anna", ANNA)
    book = [("Ben Lee", BEN), ("Carla", CARLA)]
    anna.book = "".join(json.dumps({"name": name, "phone": phone}) + "\n" for name, phone in book)
    return anna


def know(anna):
    """Sync Anna's address book."""
    anna.run("sync", "-", stdin=anna.book)


def test_a_conversation_by_name_and_number(anna, terminal):
    """What is sent to a name arrives while its owner is away, is answered, and marked."""
    ben = terminal("ben", BEN)
    know(anna)

    anna.run("send", "ben", "See", "you")
    anna.run("send", BEN, "at eight")
    got = ben.json("inbox")
    ben.run("accept", ANNA)
    ben.run("send", ANNA, "fine")

    assert [message["text"] for message in got] == ["See you", "at eight"]
    assert [message["request"] for message in got] == [True, True]
    (answer,) = anna.json("inbox")
    assert (answer["text"], answer["from_name"], answer["request"]) == ("fine", "Ben Lee", False)
    assert ben.texts() == []


def test_three_devices(anna, terminal):
    """Every device of both has every text, once each accepts the others of its account."""
    ben = terminal("ben", BEN)
    tablet = terminal("tablet", beside=ben)
    laptop = terminal("laptop", beside=anna)
    anna.run("keys", "accept", "me")
    know(anna)

    anna.run("send", "Ben", "to both")
    laptop.run("send", BEN, "from the laptop")

    assert ben.texts() == tablet.texts() == ["to both", "from the laptop"]
    for device in (anna, laptop):
        assert device.texts() == []
    with laptop.store() as store:
        kept = [entry.text for entry in store.all(Entry)]
    assert sorted(kept) == ["from the laptop", "to both"]


def test_somebody_who_registers_again(anna, terminal):
    """Her new keys are refused until they are accepted, and the safety number is another."""
    ben = terminal("ben", BEN)
    know(anna)
    anna.run("send", "Ben", "1")
    number = anna.json("keys", "Ben")["safety_number"]
    assert ben.json("keys", ANNA)["safety_number"] == number
    anna.run("keys", "verify", "Ben")
    assert anna.json("keys", "Ben")["state"] == "verified"

    again = terminal("again", BEN)
    refused = anna.run("send", "Ben", "2", exit_code=5)
    assert "kith keys accept" in refused.stderr
    shown = anna.json("keys", "Ben")
    assert shown["state"] == "changed since you compared"
    assert shown["safety_number"] != number
    assert again.json("keys", ANNA)["safety_number"] == shown["safety_number"]
    anna.run("send", "Ben", "3", "--accept-new-keys")
    assert again.texts() == ["3"]


def test_a_group(anna, terminal):
    """A text to a group reaches everybody who has joined, and nobody who has left."""
    ben, carla = terminal("ben", BEN), terminal("carla", CARLA)
    know(anna)
    for friend in (ben, carla):
        friend.run("accept", ANNA)
    anna.run("groups", "create", "Hiking", "Ben", "Carla")

    anna.run("send", "--group", "Hiking", "to", "all")
    ben.run("send", "--group", "hiking", "me too")
    assert carla.texts() == ["to all", "me too"]
    assert anna.run("inbox").stdout.endswith("  Ben Lee in Hiking: me too\n")
    carla.run("groups", "leave", "Hiking")
    anna.run("send", "--group", "Hiking", "without Carla")
    assert ben.texts() == ["to all", "without Carla"]
    assert carla.texts() == []


def test_who_is_meant(anna, terminal):
    """A name that nobody or several people have is refused with what to do."""
    terminal("ben", BEN)
    terminal("carla", CARLA)
    anna.book += json.dumps({"name": "Ben Ray", "phone": CARLA}) + "\n"
    know(anna)

    assert "2 people are known as ben" in anna.run("send", "ben", "x", exit_code=5).stderr
    assert "kith sync FILE" in anna.run("send", "Dora", "x", exit_code=5).stderr
    assert "Nobody with the number" in anna.run("send", "+4915112345699", "x", exit_code=5).stderr
    assert "no group" in anna.run("send", "--group", "Hiking", "x", exit_code=5).stderr


def test_blocking(anna, terminal):
    """Who is blocked is not told, and not heard; who blocked is told when she writes herself."""
    ben = terminal("ben", BEN)
    know(anna)
    anna.run("block", "Ben")
    ben.run("send", ANNA, "hello?")
    assert anna.texts() == []
    anna.run("unblock", "Ben")
    ben.run("send", ANNA, "hello!")
    assert anna.texts() == ["hello!"]


def test_a_passphrase(anna, monkeypatch):
    """A store that is locked by one opens with it only, and no key file is left."""
    anna.run("keys", "passphrase", stdin="horse\nhorse\n")

    refused = anna.run("inbox", exit_code=7, stdin="wrong\n")
    assert "not the passphrase" in refused.stderr
    anna.run("inbox", stdin="horse\n")
    monkeypatch.setenv("KITH_PASSPHRASE", "wrong")
    anna.run("inbox", exit_code=7)
    monkeypatch.setenv("KITH_PASSPHRASE", "horse")
    anna.run("inbox")
    anna.run("keys", "passphrase", stdin="\n\n")
    monkeypatch.delenv("KITH_PASSPHRASE")
    anna.run("inbox")


def test_signing_out_leaves_nothing(anna, tmp_path):
    """Credentials, keys and messages are deleted together."""
    anna.run("logout")

    assert [path.name for path in (tmp_path / "CONFIG" / "kith").iterdir()] == []
    assert list((tmp_path / "STATE" / "kith").glob("messages-*")) == []
