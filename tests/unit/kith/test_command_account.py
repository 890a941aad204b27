"""The commands about account and devices do what they say, and fail in one clear line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from kith.cli import COMMANDS
from kith.commands.errors import describe_error, duration
from kith.commands.output import clean, local_time
from kith.errors import KithAnswerUnreadable
from kith.storage import Credentials, CredentialsFile
from tests.unit.kith.canned import ACCOUNT, DEVICE, TOKEN, Script, ok, problem
from tests.unit.kith.conftest import SERVER, Run

pytestmark = pytest.mark.usefixtures("signed_in")

OWN = ACCOUNT["device_id"]
LOCKED = {**ACCOUNT, "registration_lock": True, "registration_lock_state": "active"}
ENDING = {**LOCKED, "registration_lock_ends_at": "2026-11-29T10:20:30Z"}


def test_whoami(run: Run, script: Script) -> None:
    """The account is shown as a table or as JSON."""
    script.on("GET /v1/account", ok(ACCOUNT))

    shown = run("whoami")
    data = json.loads(run("whoami", "--json").stdout)

    assert shown.exit_code == 0
    assert ACCOUNT["phone_number"] in shown.stdout
    assert ACCOUNT["account_id"] in shown.stdout
    assert data["discoverable"] is True
    assert data["created_at"] == "2026-11-22T10:20:30.123456+00:00"


def test_whoami_without_credentials(run: Run, credentials_path: Path) -> None:
    """Nobody signed in is exit code 3 and the way to sign in."""
    credentials_path.unlink()

    result = run("whoami")

    assert result.exit_code == 3
    assert "kith register NUMBER" in result.stderr


@pytest.mark.parametrize(
    ("answer", "exit_code", "words"),
    [
        (problem("token-invalid", 401), 3, "signed out"),
        (problem("token-reused", 401), 3, "for safety"),
        (httpx.ConnectError("no"), 4, "Is the server running?"),
        (problem("invalid-fields", 422), 5, "Detail of invalid-fields"),
        (problem("mailbox-full", 429, {"Retry-After": "90"}), 6, "90 seconds"),
        (problem("internal-error", 500), 1, "request request-1"),
        (httpx.Response(200, text="<html>"), 1, "Check --server"),
        (problem("not-found", 404), 5, "Is this address a Kith server?"),
        (problem("x", 400, detail="\x1b[31mred\u202e"), 5, "\ufffd[31mred\ufffd"),
    ],
)
def test_failures_have_their_exit_codes(
    answer: httpx.Response | Exception, exit_code: int, words: str, run: Run, script: Script
) -> None:
    """Each kind of failure has its code, its line and no traceback."""
    script.on("GET /v1/account", answer)

    result = run("whoami")

    assert result.exit_code == exit_code
    assert words in result.stderr
    assert result.stderr.startswith("kith: ")
    assert "Traceback" not in result.output
    assert TOKEN not in result.output


def test_broken_credentials_are_refused_kindly(run: Run, credentials_path: Path) -> None:
    """A broken file is exit code 7, and register does not overwrite it."""
    credentials_path.write_text("{")

    assert run("whoami").exit_code == 7
    result = run("register", "+4915112345678")

    assert result.exit_code == 7
    assert "register again" in result.stderr
    assert credentials_path.read_text() == "{"


def test_exposed_credentials_are_warned_about(
    run: Run, script: Script, credentials_path: Path
) -> None:
    """A file that others can read is mentioned, and works."""
    script.on("GET /v1/account", ok(ACCOUNT))
    credentials_path.chmod(0o644)

    result = run("whoami")

    assert result.exit_code == 0
    assert "Others on this machine can read" in result.stderr


def test_tokens_stay_with_their_server(run: Run, script: Script) -> None:
    """A token is not sent to another server, and the same server may be written another way."""
    script.on("GET /v1/account", ok(ACCOUNT))

    other = run("--server", "http://evil.test", "whoami")
    odd = run("--server", "http://a:b", "whoami")
    same = run("--server", SERVER + "/", "whoami")

    assert other.exit_code == 5
    assert "belong to http://127.0.0.1:8000" in other.stderr
    assert odd.exit_code == 5
    assert same.exit_code == 0
    assert len(script.requests) == 1


def test_server_comes_from_option_environment_or_profile(
    run: Run, script: Script, monkeypatch: pytest.MonkeyPatch, credentials_path: Path
) -> None:
    """A registration goes to --server, else KITH_SERVER, else the profile's, else the default."""
    script.on("POST /v1/verifications", problem("phone-number-invalid", 422))
    file = CredentialsFile(credentials_path)
    stored = file.load()
    file.save(Credentials("https://stored.test", "a", "d", stored.phone_number, TOKEN))

    run("register", stored.phone_number)
    file.remove()
    run("register", stored.phone_number)
    monkeypatch.setenv("KITH_SERVER", "https://environment.test/")
    run("register", stored.phone_number)
    run("--server", "https://option.test", "register", stored.phone_number)

    assert [request.url.host for request in script.requests] == [
        "stored.test",
        "127.0.0.1",
        "environment.test",
        "option.test",
    ]


@pytest.mark.parametrize(
    ("server", "is_refused"),
    [
        ("http://kith.test", True),
        ("http://192.168.0.2:8000", True),
        ("http://localhost.evil.test", True),
        ("http://[2001:db8::1]", True),
        ("https://kith.test", False),
        ("http://localhost:8000", False),
        ("http://kith.localhost", False),
        ("http://127.1.2.3:8000", False),
        ("http://[::1]:8000", False),
    ],
)
def test_tokens_do_not_travel_in_the_clear(
    server: str, is_refused: bool, run: Run, script: Script, credentials_path: Path
) -> None:
    """Plain HTTP to another machine is refused before anything is sent, unless it is wanted."""
    script.on("POST /v1/verifications", problem("phone-number-invalid", 422))
    script.on("GET /v1/account", ok(ACCOUNT))
    CredentialsFile(credentials_path).save(Credentials(server, "a", "d", "+4915112345678", TOKEN))

    for words in (("register", "+4915112345678"), ("whoami",)):
        script.requests.clear()
        result = run(*words)
        assert bool(script.requests) is not is_refused
        assert ("--insecure" in result.stderr) is is_refused
        if is_refused:
            assert result.exit_code == 5
            run("--insecure", *words)
            run(*words, env={"KITH_INSECURE": "true"})
            assert len(script.requests) == 2


def test_unusable_servers_are_wrong_use(run: Run, credentials_path: Path) -> None:
    """An address that is none is exit code 2."""
    credentials_path.unlink()

    assert run("--server", "kith.test", "register", "+49151").exit_code == 2


def test_profiles_are_separate_people(
    run: Run, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--profile and --credentials choose other files; the option beats the environment."""
    script.on("GET /v1/account", ok(ACCOUNT))
    other = tmp_path / "other.json"
    monkeypatch.setenv("KITH_CREDENTIALS", str(other))

    assert run("whoami").exit_code == 3
    assert run("--profile", "credentials", "whoami").exit_code == 0
    assert run("--profile", "ben", "whoami").exit_code == 3
    assert run("--profile", "../ben", "whoami").exit_code == 2
    assert run("--profile", "ben", "--credentials", str(other), "whoami").exit_code == 2


def test_discoverable(run: Run, script: Script) -> None:
    """Both states are sent, and what the server made of it is said."""
    script.on("PATCH /v1/account", ok(ACCOUNT), ok({**ACCOUNT, "discoverable": False}))

    assert "do not" not in run("discoverable", "on").stdout
    assert "do not find you" in run("discoverable", "off").stdout
    assert script.bodies("PATCH /v1/account") == [{"discoverable": True}, {"discoverable": False}]


def test_lock(run: Run, script: Script, tmp_path: Path) -> None:
    """The new PIN is asked for twice, hidden, or read from a file; the one there is as well, if one is."""
    script.on("PUT /v1/account/registration-lock", ok())
    script.on("GET /v1/account", ok(ACCOUNT), ok(ACCOUNT), ok(LOCKED))
    file, old = tmp_path / "pin", tmp_path / "old"
    file.write_text("13579246\n")
    old.write_text("246801\n")

    asked = run("lock", "set", stdin="246801\n246801\n")
    piped = run("lock", "set", "--pin-file", "-", stdin="975310\n")
    changed = run("lock", "set", "--pin-file", str(file), stdin="246801\n")
    again = run("lock", "set", "--pin-file", str(file), "--current-pin-file", str(old))
    short = run("lock", "set", "--pin-file", "-", stdin="12345\n")

    done = [one.exit_code for one in (asked, piped, changed, again, short)]
    assert done == [0, 0, 0, 0, 2]
    assert "246801" not in asked.output + changed.output
    assert script.bodies("PUT /v1/account/registration-lock") == [
        {"pin": "246801"},
        {"pin": "975310"},
        {"pin": "13579246", "current_pin": "246801"},
        {"pin": "13579246", "current_pin": "246801"},
    ]


@pytest.mark.usefixtures("signed_in")
def test_lock_is_removed(run: Run, script: Script) -> None:
    """With the PIN at once; without it later, unless somebody keeps it."""
    script.on("GET /v1/account", ok(LOCKED))
    script.on("POST /v1/account/registration-lock/remove", ok(ACCOUNT))
    script.on("DELETE /v1/account/registration-lock", ok(ENDING))
    script.on("POST /v1/account/registration-lock/keep", ok(LOCKED), ok(ACCOUNT))

    assert run("lock", "remove", stdin="246801\n").stdout == "The PIN is removed.\n"
    assert script.bodies("POST /v1/account/registration-lock/remove") == [{"pin": "246801"}]
    forgotten = run("lock", "remove", "--forgotten")
    assert forgotten.stdout.startswith("The PIN is removed on 2026-11-")
    assert "kith lock keep" in forgotten.stderr
    assert run("lock", "keep").stdout == "The PIN stays.\n"
    assert run("lock", "keep").stdout == "No PIN is set.\n"
    assert run("lock", "remove", "--forgotten", "--pin-file", "-", stdin="1").exit_code == 2


@pytest.mark.usefixtures("signed_in")
def test_a_lock_that_is_not_set_is_not_removed(run: Run, script: Script) -> None:
    """Nobody is asked for a PIN that there is none of."""
    script.on("GET /v1/account", ok(ACCOUNT))

    for words in ((), ("--forgotten",)):
        assert run("lock", "remove", *words).stdout == "No PIN is set.\n"


def test_problems_are_told_in_words_for_people(run: Run, script: Script) -> None:
    """What only a program can follow, requests and names of fields, is left out."""
    word_set = "GET /v1/devices lists the devices of this account."
    script.on("PATCH /v1/devices/xyz", problem("device-not-found", 404, detail=word_set))
    script.on("DELETE /v1/devices/xyz", problem("device-not-found", 404, detail=word_set))
    revoked = (
        "The tokens of its device were revoked. Register the number again; with recover_device"
        " the device keeps its id and its mailbox."
    )
    script.on("GET /v1/account", problem("token-invalid", 401, detail=revoked))

    for words in (("rename", "xyz", "Foo"), ("remove", "xyz")):
        told = run("devices", *words)
        assert told.exit_code == 5
        assert told.stderr.startswith("kith: Title of device-not-found\n")
        assert "kith devices" in told.stderr
    told = run("whoami")
    assert told.exit_code == 3
    assert told.stderr.startswith("kith: The tokens of its device were revoked.\n")
    assert "its messages are kept. Sign in again with: kith register NUMBER" in told.stderr


def test_nobody_decides_about_themselves(run: Run, script: Script) -> None:
    """The own account is neither blocked nor accepted, and nothing is asked of the server."""
    for word in ("block", "accept", "unblock"):
        told = run(word, "me")
        assert (told.exit_code, told.stderr) == (5, "kith: That is your own account.\n")


@pytest.mark.usefixtures("signed_in")
def test_whoami_shows_the_lock(run: Run, script: Script) -> None:
    """Whether it guards the number, and when it ends."""
    script.on("GET /v1/account", ok(ACCOUNT), ok(LOCKED), ok(ENDING))
    shown = [run("whoami").stdout for _ in range(3)]
    assert "not set" in shown[0]
    assert "active" in shown[1]
    assert "active, removed on 2026-11-" in shown[2]


def test_rotate_stores_before_first_use(run: Run, script: Script, credentials_path: Path) -> None:
    """The new token is on disk when the server first sees it."""
    seen: list[tuple[str, str]] = []

    def account(request: httpx.Request) -> httpx.Response:
        stored = CredentialsFile(credentials_path).load().device_token
        seen.append((request.headers["Authorization"], stored))
        return ok(ACCOUNT)

    script.on("POST /v1/tokens/rotate", ok({"device_token": "kith_new"}, 201))
    script.on("GET /v1/account", account)

    result = run("rotate")

    assert result.exit_code == 0
    assert seen == [("Bearer kith_new", "kith_new")]
    assert "kith_new" not in result.output


def test_logout(run: Run, script: Script, credentials_path: Path) -> None:
    """The device is removed at the server first, then here."""
    script.on(f"DELETE /v1/devices/{OWN}", httpx.ConnectError("no"), ok())

    script.on(f"DELETE /v1/devices/{OWN}", problem("internal-error", 500), ok())
    assert run("logout").exit_code == 1
    assert credentials_path.exists()
    assert run("logout").exit_code == 0
    assert not credentials_path.exists()


def test_logout_of_a_forgotten_device(run: Run, script: Script, credentials_path: Path) -> None:
    """A device that the server no longer knows is signed out here."""
    script.on(f"DELETE /v1/devices/{OWN}", problem("token-invalid", 401))

    result = run("logout")

    assert result.exit_code == 0
    assert "did not know" in result.stderr
    assert not credentials_path.exists()


def test_delete_account(run: Run, script: Script, credentials_path: Path) -> None:
    """The account is deleted after a word only, and a revoked token deletes nothing."""
    script.on("DELETE /v1/account", problem("token-invalid", 401), ok())

    assert run("logout", "--delete-account", stdin="n\n").exit_code == 130
    assert script.requests == []
    assert run("logout", "--delete-account", "--yes").exit_code == 3
    assert credentials_path.exists()
    result = run("logout", "--delete-account", stdin="y\n")
    assert result.exit_code == 0
    assert "account is deleted" in result.stdout
    assert not credentials_path.exists()


def test_devices(run: Run, script: Script) -> None:
    """Devices are listed with their ids whole, or as JSON."""
    other = {**DEVICE, "id": "d" * 36, "name": None, "platform": None, "current": False}
    other["last_seen_at"] = "2026-11-22T10:20:30Z"
    script.on("GET /v1/devices", ok({"devices": [DEVICE, other]}))

    shown = run("devices").stdout
    data = json.loads(run("devices", "--json").stdout)

    assert OWN in shown
    assert "d" * 36 in shown
    assert [one["current"] for one in data] == [True, False]


def test_devices_are_changed(run: Run, script: Script) -> None:
    """Renaming and removing name the device; the own one is not removed here."""
    script.on("PATCH /v1/devices/d1", ok(DEVICE))
    script.on("DELETE /v1/devices/d1", ok())

    assert run("devices", "rename", "d1", "Old").exit_code == 0
    assert run("devices", "remove", "d1").exit_code == 0
    assert run("devices", "remove", "..").exit_code == 2
    script.on("DELETE /v1/account/other-devices", ok({"removed": ["d2", "d3"]}))
    assert run("devices", "remove", "--others").stdout == "2 other devices signed out.\n"
    for wrong in (("devices", "remove"), ("devices", "remove", "d1", "--others")):
        assert run(*wrong).exit_code == 2
    own = run("devices", "remove", OWN)

    assert own.exit_code == 5
    assert "kith logout" in own.stderr
    assert script.bodies("PATCH /v1/devices/d1") == [{"name": "Old"}]


def test_link_code_is_printed(run: Run, script: Script) -> None:
    """The code is printed as the command to enter on the other device."""
    made = {"link_code": "link-me", "expires_at": "2026-11-22T10:30:30Z"}
    script.on("POST /v1/device-links", ok(made, 201))

    assert run("devices", "link").stdout == "kith link link-me\n"
    assert json.loads(run("devices", "link", "--json").stdout)["link_code"] == "link-me"


@pytest.mark.parametrize(
    "command",
    [
        (),
        *((name,) for name in sorted(COMMANDS)),
        *(("devices", name) for name in ("link", "remove", "rename")),
        *(("lock", name) for name in ("keep", "remove", "set")),
        *(("keys", name) for name in ("accept", "passphrase", "show", "verify")),
        *(("groups", name) for name in ("create", "invite", "join", "leave", "members", "remove")),
    ],
)
def test_every_command_has_help_with_an_example(command: tuple[str, ...], run: Run) -> None:
    """--help says what a command does and shows how."""
    result = run(*command, "--help")

    assert result.exit_code == 0
    assert "kith " + " ".join(command[:1]) in result.stdout.split("\n\n", 1)[1]


def test_exit_codes_are_in_the_help(run: Run) -> None:
    """Whoever writes a script finds the exit codes."""
    shown = run("--help").stdout

    assert all(f"\n    {code} " in shown for code in (0, 1, 2, 3, 4, 5, 6, 7, 130))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (121, "3 minutes"),
        (7200, "2 hours"),
        (604800, "7 days"),
    ],
)
def test_durations(seconds: int, words: str) -> None:
    """Waits are told as people tell them, never too short."""
    assert duration(seconds) == words


def test_names_cannot_steer_the_terminal() -> None:
    """Control characters are made visible, joiners of scripts and emoji are kept."""
    assert clean("a\x1b[2J\nb\u200db\x07") == "a\ufffd[2J b\u200db\ufffd"
    assert local_time(None) == ""


def test_unreadable_answers_are_the_servers_failure() -> None:
    """An answer that is not Kith's ends with exit code 1."""
    assert describe_error(KithAnswerUnreadable("odd")).exit_code == 1


def test_module_can_be_run(tmp_path: Path) -> None:
    """`python -m kith` is the command, and warns of nothing."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    environment.pop("KITH_CREDENTIALS", None)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "kith", "whoami"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[3],
        check=False,
    )

    assert done.returncode == 3
    assert done.stderr.startswith("kith: Nobody is signed in")


def test_a_pin_can_be_piped_in(credentials_path: Path) -> None:
    """Without a terminal a hidden question reads stdin, without a traceback."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "kith", "lock", "set"],
        input="1\n1\n",
        capture_output=True,
        text=True,
        env={**os.environ, "KITH_CREDENTIALS": str(credentials_path)},
        cwd=Path(__file__).parents[3],
        start_new_session=True,
        check=False,
    )

    assert done.returncode == 2
    assert "6 to 64 characters" in done.stderr
    assert "Traceback" not in done.stderr
