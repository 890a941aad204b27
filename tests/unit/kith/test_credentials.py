"""Credentials are stored whole, for their owner only, and never guessed at."""

import json
import os
import stat
from pathlib import Path

import pytest
from msgspec.structs import replace

from kith.storage import (
    Credentials,
    CredentialsBroken,
    CredentialsFile,
    CredentialsMissing,
    default_directory,
)

CREDENTIALS = Credentials("http://kith.test", "a1", "d1", "+4915112345678", "kith_secret")


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """The file holds everything, with modes that keep others out."""
    file = CredentialsFile(tmp_path / "new" / "kith" / "credentials.json")

    file.save(CREDENTIALS)

    assert file.load() == CREDENTIALS
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.path.parent.parent.stat().st_mode) == 0o700
    assert not file.is_exposed()


def test_saving_replaces_in_one_step(tmp_path: Path) -> None:
    """A second save leaves one file, and a link to it stays a link."""
    target, link = tmp_path / "real.json", tmp_path / "link.json"
    link.symlink_to(target)
    CredentialsFile(link).save(CREDENTIALS)

    CredentialsFile(link).save(replace(CREDENTIALS, device_token="kith_new"))

    assert link.is_symlink()
    assert CredentialsFile(target).load().device_token == "kith_new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "real.json"]


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails, the old credentials are still there and no rest is left."""
    file = CredentialsFile(tmp_path / "credentials.json")
    file.save(CREDENTIALS)

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CredentialsBroken, match="No space left"):
        file.save(replace(CREDENTIALS, device_token="kith_new"))

    assert file.load() == CREDENTIALS
    assert [path.name for path in tmp_path.iterdir()] == ["credentials.json"]


def test_no_file_is_not_a_broken_one(tmp_path: Path) -> None:
    """Nobody signed in is told apart from a file that cannot be read."""
    with pytest.raises(CredentialsMissing):
        CredentialsFile(tmp_path / "none.json").load()
    assert not CredentialsFile(tmp_path / "none.json").is_exposed()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"{}",
        json.dumps({"server": "x"}).encode(),
        json.dumps(
            {
                "server": "x",
                "account_id": "a",
                "device_id": "d",
                "phone_number": "+",
                "device_token": "a b",
            }
        ).encode(),
        b"[" * 100_000,
    ],
)
def test_broken_files_are_refused_kindly(content: bytes, tmp_path: Path) -> None:
    """A broken file is named with what to do, and left as it is."""
    path = tmp_path / "credentials.json"
    path.write_bytes(content)

    with pytest.raises(CredentialsBroken, match="register again"):
        CredentialsFile(path).load()

    assert path.read_bytes() == content


def test_places_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """A file in the way of a directory, or a directory in the way of the file, is said."""
    (tmp_path / "file").write_text("")
    in_a_file = CredentialsFile(tmp_path / "file" / "credentials.json")
    a_directory = CredentialsFile(tmp_path)

    with pytest.raises(CredentialsBroken, match="cannot be written"):
        in_a_file.prepare()
    with pytest.raises(CredentialsBroken, match="cannot be written"):
        in_a_file.save(CREDENTIALS)
    with pytest.raises(CredentialsBroken, match="cannot be read"):
        in_a_file.load()
    with pytest.raises(CredentialsBroken, match="cannot be deleted"):
        in_a_file.remove()
    with pytest.raises(CredentialsBroken, match="is a directory"):
        a_directory.prepare()


def test_preparing_and_removing_leave_nothing(tmp_path: Path) -> None:
    """A try run leaves no file, and removing twice is fine."""
    file = CredentialsFile(tmp_path / "credentials.json")

    file.prepare()
    assert list(tmp_path.iterdir()) == []
    file.save(CREDENTIALS)
    file.remove()
    file.remove()

    assert list(tmp_path.iterdir()) == []


def test_exposed_files_are_noticed(tmp_path: Path) -> None:
    """A file that others may read is told apart."""
    file = CredentialsFile(tmp_path / "credentials.json")
    file.save(CREDENTIALS)

    file.path.chmod(0o644)

    assert file.is_exposed()


def test_the_token_does_not_show() -> None:
    """Printing credentials does not print the token."""
    assert "kith_secret" not in repr(CREDENTIALS)


def test_default_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    """An absolute XDG_CONFIG_HOME is followed, anything else is ~/.config."""
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert default_directory() == Path("/home/ann/.config/kith")

    monkeypatch.setenv("XDG_CONFIG_HOME", "/conf")
    assert default_directory() == Path("/conf/kith")
