"""The server secret and what is derived from it: made once, kept apart by purpose, rotated."""

import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.secrets import Keyring, load_keyring
from settings import Settings
from tests.databases import ROOT

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32


def test_a_development_secret_is_made_once(tmp_path: Path) -> None:
    """The first start makes it, for its owner's eyes only, and every later one reads the same."""
    settings = Settings(data_dir=tmp_path / "new" / "data")
    first, second = load_keyring(settings), load_keyring(settings)
    assert first == second
    (file,) = (tmp_path / "new" / "data").iterdir()
    assert file.name == "secret_key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes() == first.secrets[0]
    assert len(first.secrets[0]) >= 32


def test_each_installation_has_its_own(tmp_path: Path) -> None:
    """Two data directories have two secrets."""
    keyrings = [load_keyring(Settings(data_dir=tmp_path / name)) for name in ("a", "b")]
    assert keyrings[0] != keyrings[1]


def test_the_umask_opens_nothing(tmp_path: Path) -> None:
    """Under the widest umask the file is still its owner's alone."""
    before = os.umask(0)
    try:
        load_keyring(Settings(data_dir=tmp_path))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def test_many_first_starts_at_once_in_threads(tmp_path: Path) -> None:
    """Of 16 threads that start together all get one secret, and no draft is left."""
    for round_ in range(5):
        settings, barrier = Settings(data_dir=tmp_path / str(round_)), threading.Barrier(16)

        def start(settings: Settings = settings, barrier: threading.Barrier = barrier) -> Keyring:
            barrier.wait()
            return load_keyring(settings)

        with ThreadPoolExecutor(16) as pool:
            found = {future.result() for future in [pool.submit(start) for _ in range(16)]}
        assert len(found) == 1
        assert [path.name for path in (tmp_path / str(round_)).iterdir()] == ["secret_key"]


@pytest.mark.slow
def test_many_first_starts_at_once_in_processes(tmp_path: Path) -> None:
    """Of four processes that start together all get one secret."""
    script = (
        "import sys; from core.secrets import load_keyring; from settings import Settings;"
        " sys.stdin.read(); print(load_keyring(Settings.load()).secrets[0].decode())"
    )
    environment = os.environ | {"KITH_DATA_DIR": str(tmp_path / "data")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    with ThreadPoolExecutor(4) as pool:
        outputs = list(
            pool.map(lambda process: process.communicate("go", timeout=60)[0], processes)
        )
    assert {process.returncode for process in processes} == {0}
    assert len(set(outputs)) == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret_key"]


def test_a_given_secret_makes_no_file(tmp_path: Path) -> None:
    """With secrets in the settings they are used, the current one first, and nothing is written."""
    settings = Settings(
        data_dir=tmp_path, secret_key=NEW.decode(), secret_key_previous=OLD.decode()
    )
    assert load_keyring(settings).secrets == (NEW, OLD)
    assert list(tmp_path.iterdir()) == []


def test_a_previous_secret_beside_a_generated_one(tmp_path: Path) -> None:
    """In development too, a previous secret is accepted."""
    generated = load_keyring(Settings(data_dir=tmp_path)).secrets[0]
    settings = Settings(data_dir=tmp_path, secret_key_previous=OLD.decode())
    assert load_keyring(settings).secrets == (generated, OLD)


def test_derivation_is_hkdf_expand() -> None:
    """A key is the first block of HKDF-Expand (RFC 5869) with the purpose as info."""
    import hashlib
    import hmac

    expected = hmac.new(NEW, b"kith/codes\x01", hashlib.sha256).digest()
    assert Keyring((NEW,)).derive("codes") == expected


@given(st.text(max_size=30), st.text(max_size=30))
def test_purposes_are_apart(one: str, other: str) -> None:
    """Two purposes share no key and no digest, and one purpose always gives the same."""
    keyring = Keyring((NEW,))
    assert (keyring.derive(one) == keyring.derive(other)) is (one == other)
    assert (keyring.digest(one, "text") == keyring.digest(other, "text")) is (one == other)
    assert len(keyring.derive(one)) == 32
    assert len(keyring.digest(one, "text")) == 16


def test_a_digest_needs_the_secret() -> None:
    """The same number has another digest under another secret, and another one for another text."""
    numbers = ["+4915112345678", "+4915112345679"]
    digests = {Keyring((s,)).digest("number", n) for s in (OLD, NEW) for n in numbers}
    assert len(digests) == 4


def test_rotation_accepts_the_previous_secret() -> None:
    """New keys come from the new secret; those of the one before are found by its name."""
    before, during = Keyring((OLD,)), Keyring((NEW, OLD))
    assert during.key_id() != before.key_id()
    assert during.derive("codes") == Keyring((NEW,)).derive("codes")
    assert during.derive_for(before.key_id(), "codes") == before.derive("codes")
    assert during.derive_for(during.key_id(), "codes") == during.derive("codes")
    assert during.derive_all("codes") == [during.derive("codes"), before.derive("codes")]
    assert during.digests("number", "1") == [
        during.digest("number", "1"),
        before.digest("number", "1"),
    ]


def test_after_rotation_the_previous_secret_is_gone() -> None:
    """A key under a secret that is no longer accepted cannot be derived."""
    assert Keyring((NEW,)).derive_for(Keyring((OLD,)).key_id(), "codes") is None
    assert Keyring((NEW, OLD)).derive_for(Keyring((OTHER,)).key_id(), "codes") is None


@pytest.mark.parametrize("show", [repr, str], ids=["repr", "str"])
def test_secrets_are_not_shown(show: type[str]) -> None:
    """Neither keyring nor settings print what they hold."""
    settings = Settings(secret_key="s3cr3t" * 6, twilio_auth_token="t0k3n" * 6)
    shown = show(settings) + show(load_keyring(settings))
    assert "s3cr3t" not in shown
    assert "t0k3n" not in shown
