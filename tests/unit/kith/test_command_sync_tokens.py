"""`kith sync` with a token that was given by itself, as a job has it that is no device."""

from pathlib import Path

import pytest

from tests.unit.kith.canned import TOKEN, Script, problem
from tests.unit.kith.conftest import SERVER, Run
from tests.unit.kith.lookup_server import LookupServer

ANN = "+4915211111111"


@pytest.fixture
def server(script: Script) -> LookupServer:
    """Return a server on which Ann is."""
    return LookupServer(script, [ANN], left=100)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Return a file with Ann in it."""
    path = tmp_path / "book.csv"
    path.write_text(f"Name,Phone\nAnn,{ANN}\n")
    return path


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """Return a file with a service's token, as an editor leaves it."""
    path = tmp_path / "token"
    path.write_text("kithsvc_abc\n")
    return path


def test_it_is_sent(
    run: Run, server: LookupServer, script: Script, book: Path, token_file: Path
) -> None:
    """The job asks with it and needs no account; a country must be said."""
    words = ("--server", SERVER, "--token-file", str(token_file), "sync", str(book))
    result = run(*words, "--region", "DE")

    assert result.exit_code == 0
    assert "Ann" in result.stdout
    assert {one.headers["Authorization"] for one in script.requests} == {"Bearer kithsvc_abc"}
    assert script.sent("GET /v1/account") == []


def test_from_the_environment(
    run: Run,
    server: LookupServer,
    script: Script,
    token_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """KITH_TOKEN is a token, KITH_TOKEN_FILE a file with one, and the file comes first."""
    monkeypatch.setenv("KITH_SERVER", SERVER)
    monkeypatch.setenv("KITH_TOKEN", TOKEN)

    result = run("sync", "-", stdin=f"Phone\n0151 11111111\n{ANN}\n")

    assert "without a known country code" in result.stderr
    assert result.stdout.endswith("1 unreadable, 1 here\n")
    assert script.requests[-1].headers["Authorization"] == f"Bearer {TOKEN}"
    monkeypatch.setenv("KITH_TOKEN_FILE", str(token_file))
    run("sync", "-", stdin=f"Phone\n{ANN}\n")
    assert script.requests[-1].headers["Authorization"] == "Bearer kithsvc_abc"


def test_it_is_sent_to_nobody_who_was_not_named(
    run: Run, script: Script, token_file: Path, book: Path, signed_in: object
) -> None:
    """Which server a token is for must be said."""
    result = run("--token-file", str(token_file), "sync", str(book))
    assert (result.exit_code, "--server" in result.stderr) == (2, True)
    result = run("--profile", "ann", "--token-file", str(token_file), "sync", str(book))
    assert (result.exit_code, "not both" in result.stderr) == (2, True)
    assert script.requests == []


def test_other_commands_need_a_device(
    run: Run, script: Script, token_file: Path, signed_in: object
) -> None:
    """They are refused rather than run for somebody else."""
    result = run("--server", SERVER, "--token-file", str(token_file), "whoami")
    assert (result.exit_code, "sync only" in result.stderr) == (5, True)
    assert script.requests == []


def test_no_token(run: Run, script: Script, book: Path, tmp_path: Path) -> None:
    """A missing file is 7, one that holds no token is 5 and its content is not shown."""
    path = tmp_path / "token"
    words = ("--server", SERVER, "--token-file", str(path), "sync", str(book))
    assert run(*words).exit_code == 7
    for content in ("", "two words"):
        path.write_text(content)
        result = run(*words)
        assert (result.exit_code, "two words" in result.stderr) == (5, False)
    assert script.requests == []


def test_a_token_that_is_refused(run: Run, script: Script, token_file: Path, book: Path) -> None:
    """3, with a word on where it came from."""
    script.on("GET /v1/discovery/parameters", problem("token-invalid", 401))
    words = ("--server", SERVER, "--token-file", str(token_file), "sync", str(book))
    result = run(*words)
    assert (result.exit_code, "--token-file" in result.stderr) == (3, True)
