"""The state file of a sync is private, whole, and of one run at a time."""

import sqlite3
from pathlib import Path

import pytest

from kith import Kith
from kith.api.discovery import DIGEST_BYTES
from kith.contacts import Contact, WrittenNumber
from kith.sync import Book, State, StateBroken, StateInUse, gather, synchronise
from tests.unit.kith.canned import Script
from tests.unit.kith.lookup_server import LookupServer, account_of
from tests.unit.kith.states import as_version_1

DIGESTS = [bytes([n]) * DIGEST_BYTES for n in range(4)]
NUMBER = "+4915111111111"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the state is kept."""
    return tmp_path / "new" / "state.db"


def test_only_its_owner_can_read_it(path: Path) -> None:
    """File and directory are made for one person, and an open file is closed to others."""
    State(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o644)
    State(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_holds_hashes_and_no_book(path: Path, client: Kith, script: Script) -> None:
    """Neither a number nor a name is in it, however it is written."""
    LookupServer(script, [NUMBER], left=10)
    number = WrittenNumber("0151 11111111", 1)
    with Book() as book, State(path) as state:
        gather([Contact("Ann Lee", (number,), 1)], book, region="DE")
        synchronise(client, book, state)
        state.mark_shown(book.account_ids(), everybody=True)

    content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert account_of(NUMBER).encode() in content
    for text in ("Ann", "0151", "15111111111"):
        assert text.encode() not in content


def test_one_run_at_a_time(path: Path) -> None:
    """A second run is told so at once, and may come when the first has ended."""
    with State(path), pytest.raises(StateInUse, match="Another sync"):
        State(path)
    State(path).close()


def test_a_run_waits_for_another(path: Path) -> None:
    """As long as it is told to, and says so once."""
    waits, told = list[float](), list[str]()
    first = State(path)

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            first.close()

    State(path, wait=10, sleep=sleep, on_wait=lambda: told.append("wait")).close()
    assert (len(waits), told) == (3, ["wait"])
    with State(path), pytest.raises(StateInUse):
        State(path, wait=2, sleep=waits.append)
    assert len(waits) == 5


def test_each_book_has_shown_its_own(path: Path) -> None:
    """What was paid for is shared by the books of a file, who was shown is not."""
    with State(path, "a") as state:
        state.start_epoch("e1")
        state.create_page(DIGESTS)
        state.mark_shown(["a1"], everybody=True)
    with State(path, "b") as state:
        assert not state.was_shown("a1")
        state.mark_shown(["a2"], everybody=True)
        assert state.page_numbers() == [1]
    with State(path, "a") as state:
        assert state.was_shown("a1")
        assert not state.was_shown("a2")


def test_a_file_of_the_first_version_is_gone_on_with(path: Path) -> None:
    """Its pages stay, and who was shown belongs to the book that opens it."""
    with State(path) as state:
        state.start_epoch("e1")
        state.create_page(DIGESTS)
        state.mark_shown(["a1"], everybody=True)
    as_version_1(path)

    with State(path, "book") as state:
        assert state.page_numbers() == [1]
        assert state.was_shown("a1")
    with State(path, "other") as state:
        assert not state.was_shown("a1")


@pytest.mark.parametrize(("epoch", "pages"), [(None, [1]), ("e1", [1, 2]), ("e2", [1])])
def test_another_file_is_taken_over(path: Path, epoch: str | None, pages: list[int]) -> None:
    """Its pages where they are of the same epoch, whom it has shown in any case; then it is gone."""
    former = path.with_name("former.db")
    with State(former) as state:
        state.start_epoch("e1")
        state.create_page(DIGESTS[:2])
        state.mark_shown(["a1"], everybody=True)
    as_version_1(former)
    with State(path, "book") as state:
        if epoch is not None:
            state.start_epoch(epoch)
            state.create_page(DIGESTS[2:])
        state.import_file(former)
        assert state.page_numbers() == pages
        assert state.was_shown("a1")
        state.start_epoch(epoch or "e1")
        assert state.page_numbers() == pages
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_what_is_no_state_file_is_left_alone(path: Path) -> None:
    """Neither another database nor garbage is touched."""
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(StateBroken, match="Move it away"):
        State(path)
    assert path.read_bytes() == before
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(StateBroken, match="Move it away"):
        State(path)
    assert path.read_bytes() == b"garbage" * 1000


def test_a_directory_is_no_state_file(tmp_path: Path) -> None:
    """What cannot be opened is named with the reason."""
    with pytest.raises(StateBroken, match="directory"):
        State(tmp_path)


def test_pages_are_kept(path: Path) -> None:
    """What is asked is noted before the answer, what is answered is known afterwards."""
    with State(path) as state:
        state.start_epoch("e1")
        first = state.create_page(DIGESTS[2:])
        state.record_answer(first, "t1")
        state.set_pending(state.page(first.number), DIGESTS[:2])
        state.create_page(DIGESTS[:1])
        state.record_answer(state.page(2), None)
    with State(path) as state:
        state.start_epoch("e1")
        assert state.page_numbers() == [1, 2]
        page = state.page(1)
        assert (page.token, page.known, page.asked) == ("t1", DIGESTS[2:], DIGESTS[:2])
        assert page.size == 4
        assert state.page(2).token is None
        state.record_answer(page, "t2")
        assert state.page(1).known == DIGESTS
        state.delete_page(page)
        assert state.page_numbers() == [2]


def test_another_epoch_forgets_pages_only(path: Path) -> None:
    """Who was shown is remembered over a change of parameters."""
    with State(path) as state:
        state.start_epoch("e1")
        state.create_page(DIGESTS)
        state.mark_shown(["a1"], everybody=True)
        state.start_epoch("e2")
        assert state.page_numbers() == []
        assert state.was_shown("a1")


def test_who_was_shown(path: Path) -> None:
    """A run that showed everybody replaces what was noted, another adds to it."""
    with State(path) as state:
        state.mark_shown(["a1"], everybody=False)
        state.mark_shown(["a2", "a2"], everybody=False)
        assert [state.was_shown(one) for one in ("a1", "a2", "a3")] == [True, True, False]
        state.mark_shown(["a3"], everybody=True)
        assert [state.was_shown(one) for one in ("a1", "a2", "a3")] == [False, False, True]


def test_a_failed_change_changes_nothing(path: Path) -> None:
    """A change is whole or not at all."""

    def break_off() -> object:
        yield "a1"
        raise KeyboardInterrupt

    with State(path) as state:
        state.mark_shown(["a0"], everybody=True)
        with pytest.raises(KeyboardInterrupt):
            state.mark_shown(break_off(), everybody=True)  # type: ignore[arg-type]
        assert state.was_shown("a0")
        assert not state.was_shown("a1")
