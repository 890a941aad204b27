"""The message store is sealed, whole, private, and opened by what locked it."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kith.messaging.store import Record, Store
from kith.messaging.store_encryption import StoreBroken, StoreLocked, UnlockMethod


class Note(Record, frozen=True):
    """A record of these tests."""

    kind = "Note"

    text: str


class Other(Record, frozen=True):
    """Another kind with the same members."""

    kind = "Other"

    text: str


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the store is kept."""
    return tmp_path / "new" / "messages.db"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return where the key file is kept."""
    return tmp_path / "config" / "credentials.key"


@pytest.fixture
def store(path: Path, key_file: Path) -> Iterator[Store]:
    """Return an open store."""
    with Store(path, UnlockMethod(key_file)) as store:
        yield store


def test_only_their_owner_can_read_the_files(store: Store, path: Path, key_file: Path) -> None:
    """Files and directories are made for one person."""
    for file in (*path.parent.iterdir(), key_file):
        assert file.stat().st_mode & 0o777 == 0o600
    for directory in (path.parent, key_file.parent):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_nothing_of_it_can_be_read(store: Store, path: Path) -> None:
    """Neither a value nor the name under which it is kept is in the file."""
    store.put("account of Ann", Note("hello Ben"))

    content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"Note" in content
    for text in (b"Ann", b"hello", b"Ben"):
        assert text not in content


def test_records_are_kept_in_order(store: Store, path: Path, key_file: Path) -> None:
    """A record keeps its place when it changes, and another process finds it."""
    for name in ("a", "b", "c"):
        store.put(name, Note(name))
    store.put("a", Note("A"))
    store.delete(Note, "b")
    with Store(path, UnlockMethod(key_file)) as other:
        assert [note.text for note in other.all(Note)] == ["A", "c"]
        assert other.get(Note, "a") == Note("A")
        assert other.get(Note, "b") is None
        assert other.get(Other, "a") is None
    store.keep_newest(Note, 1)
    assert [note.text for note in store.all(Note)] == ["c"]
    store.keep_newest(Note, 1)
    assert store.get(Note, "c") == Note("c")


def test_records_expire(store: Store) -> None:
    """What expires is gone after its time; what was put again stays."""
    store.put("a", Note("a"), expires_at=10)
    store.put("b", Note("b"))
    store.expire_all(Note, 20)
    store.put("c", Note("c"))
    store.delete_expired(10)
    assert [note.text for note in store.all(Note)] == ["b", "c"]
    store.put("b", Note("b"))
    store.delete_expired(20)
    assert [note.text for note in store.all(Note)] == ["b", "c"]


def test_a_change_is_whole_or_nothing(store: Store) -> None:
    """What fails in the middle changes nothing, the inner change included."""
    store.put("a", Note("a"))
    with pytest.raises(KeyboardInterrupt), store.transaction():
        store.put("a", Note("b"))
        store.put("b", Note("b"))
        raise KeyboardInterrupt

    assert [note.text for note in store.all(Note)] == ["a"]


def test_two_processes_take_turns(store: Store, path: Path, key_file: Path) -> None:
    """A change waits for another one, and sees what that made of the record."""
    store.put("n", Note("0"))
    begun, results = threading.Event(), []

    def add() -> None:
        with Store(path, UnlockMethod(key_file)) as other:
            begun.set()
            with other.transaction():
                found = other.get(Note, "n")
                assert found is not None
                other.put("n", Note(str(int(found.text) + 1)))
                results.append(found.text)

    thread = threading.Thread(target=add)
    with store.transaction():
        thread.start()
        begun.wait(0.2)  # opening takes the same lock, so that it may not begin before
        store.put("n", Note("10"))
    thread.join()
    assert results == ["10"]
    assert store.get(Note, "n") == Note("11")


def test_threads_share_it(store: Store) -> None:
    """Threads of one program do not get into each other's transactions."""
    store.put("n", Note("0"))

    def add() -> None:
        for _ in range(20):
            with store.transaction():
                found = store.get(Note, "n")
                assert found is not None
                store.put("n", Note(str(int(found.text) + 1)))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get(Note, "n") == Note("80")


def test_a_passphrase_opens_what_it_locked(path: Path, key_file: Path) -> None:
    """Without it, or with another one, nothing is opened, and no key file is made."""
    with Store(path, UnlockMethod(key_file, "correct horse")) as store:
        store.put("a", Note("a"))
    for wrong, words in ((None, "locked by a passphrase"), ("battery", "not the passphrase")):
        with pytest.raises(StoreLocked, match=words):
            Store(path, UnlockMethod(key_file, wrong))
    with Store(path, UnlockMethod(key_file, "correct horse")) as store:
        assert store.get(Note, "a") == Note("a")
    assert not key_file.exists()


def test_the_passphrase_can_be_changed(store: Store, path: Path, key_file: Path) -> None:
    """What opened a store before opens it no more, and everything is still there."""
    store.put("a", Note("a"))
    store.change_unlock(UnlockMethod(key_file, "new"))
    key_file.unlink()
    with Store(path, UnlockMethod(key_file, "new")) as again:
        assert again.get(Note, "a") == Note("a")
    with pytest.raises(StoreLocked):
        Store(path, UnlockMethod(key_file))


def test_a_lost_or_open_key_file_is_said(store: Store, path: Path, key_file: Path) -> None:
    """Nothing is opened with a key file that is gone, changed, cut or readable for others."""
    key_file.chmod(0o644)
    with pytest.raises(StoreLocked, match="chmod 600"):
        Store(path, UnlockMethod(key_file))
    key_file.chmod(0o600)
    key_file.write_bytes(bytes(32))
    with pytest.raises(StoreLocked, match="is not its key"):
        Store(path, UnlockMethod(key_file))
    key_file.write_bytes(b"short")
    with pytest.raises(StoreLocked, match="is not a key file"):
        Store(path, UnlockMethod(key_file))
    key_file.unlink()
    with pytest.raises(StoreLocked, match="is gone"):
        Store(path, UnlockMethod(key_file))
    assert not key_file.exists()


def test_changed_and_swapped_records_are_noticed(store: Store, path: Path) -> None:
    """A value is good under its own name and kind only."""
    store.put("a", Note("a"))
    store.put("b", Note("b"))
    with contextlib.closing(sqlite3.connect(path)) as raw:
        raw.execute("UPDATE records SET value = (SELECT value FROM records WHERE position = 2)")
        raw.commit()
    with pytest.raises(StoreBroken, match="Restore it"):
        store.get(Note, "a")
    assert store.get(Note, "b") == Note("b")


def test_what_is_no_message_store_is_left_alone(path: Path, key_file: Path) -> None:
    """Neither another database nor garbage is touched."""
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.commit()
    for content in (path.read_bytes(), b"garbage" * 1000):
        path.write_bytes(content)
        with pytest.raises(StoreBroken, match="Restore it"):
            Store(path, UnlockMethod(key_file))
        assert path.read_bytes() == content
    with pytest.raises(StoreBroken, match="directory"):
        Store(path.parent, UnlockMethod(key_file))
