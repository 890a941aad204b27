"""`kith sync` as a job: formats, people who are new, exit codes, service tokens."""

import csv
import io
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kith.sync import State
from tests.unit.kith.canned import ACCOUNT, Script, ok, problem
from tests.unit.kith.conftest import Run
from tests.unit.kith.lookup_server import LOOKUPS, LookupServer, account_of

ANN, BEN, CARLA = (f"+49152{n}" for n in (11111111, 22222222, 33333333))
BOOK = f"Name,Phone\nAnn,{ANN}\nBen,{BEN}\nCarla,{CARLA}\nNobody,no number\n"
REASON = "'no number': not a phone number"


@pytest.fixture
def server(script: Script) -> LookupServer:
    """Return a server on which Ann and Ben are."""
    script.on("GET /v1/account", ok(ACCOUNT))
    return LookupServer(script, [ANN, BEN], left=100)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Return a file of four people, one of them without a number."""
    path = tmp_path / "book.csv"
    path.write_text(BOOK)
    return path


def names(output: str) -> list[str]:
    """Return the names in JSON lines."""
    return [json.loads(line)["name"] for line in output.splitlines()]


@pytest.mark.usefixtures("signed_in")
class TestOutput:
    """Matches are printed as they are asked for."""

    def test_json_lines(self, run: Run, server: LookupServer, book: Path) -> None:
        """One object a match on stdout; the summary is not among them."""
        result = run("sync", str(book), "--output", "jsonl")

        first, second = (json.loads(line) for line in result.stdout.splitlines())
        assert first == {
            "name": "Ann",
            "written": ANN,
            "phone_number": ANN,
            "account_id": account_of(ANN),
            "line": 2,
        }
        assert second["name"] == "Ben"
        assert result.stderr.splitlines() == [
            f"{book}:5: Nobody: {REASON}",
            "4 contacts, 4 numbers, 1 unreadable, 2 here",
        ]

    def test_csv(self, run: Run, server: LookupServer) -> None:
        """A row a match below a header, with nothing in it that could steer a terminal."""
        card = f'{{"name": "Ann \\u001b[31m,\\"Lee\\"", "phone": "{ANN}"}}'
        result = run("sync", "-", "--format", "jsonl", "--output", "csv", stdin=card)

        rows = list(csv.reader(io.StringIO(result.stdout)))
        assert rows == [
            ["name", "written", "phone_number", "account_id", "line"],
            ['Ann \ufffd[31m,"Lee"', ANN, ANN, account_of(ANN), "1"],
        ]

    def test_a_json_document(self, run: Run, server: LookupServer, book: Path) -> None:
        """--json and --output json are one, and hold what the summary says."""
        document = json.loads(run("sync", str(book), "--json").stdout)

        assert [one["name"] for one in document.pop("matches")] == ["Ann", "Ben"]
        assert document == {
            "contacts": 4,
            "numbers": 4,
            "unreadable": [{"line": 5, "reason": REASON, "name": "Nobody"}],
            "here": 2,
            "new": 2,
            "waiting": 0,
        }
        again = json.loads(run("sync", str(book), "--output", "json", "--watch-new").stdout)
        assert (again["matches"], again["here"], again["new"]) == ([], 2, 0)

    def test_quiet(self, run: Run, server: LookupServer, book: Path) -> None:
        """Matches only; nothing at all when there are none."""
        result = run("sync", str(book), "--quiet")
        assert (len(result.stdout.splitlines()), result.stderr) == (3, "")
        result = run("sync", str(book), "--quiet", "--watch-new")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")

    def test_rejects(self, run: Run, server: LookupServer, book: Path, tmp_path: Path) -> None:
        """What cannot be read goes to a file of the owner's; --strict makes it count."""
        rejects = tmp_path / "rejects.txt"

        result = run("sync", str(book), "--rejects", str(rejects))

        assert (result.exit_code, result.stderr) == (0, "")
        assert rejects.read_text() == f"{book}:5: Nobody: {REASON}\n"
        assert stat.S_IMODE(rejects.stat().st_mode) == 0o600
        result = run("sync", str(book), "--rejects", str(rejects), "--strict")
        assert (result.exit_code, "1 lines or numbers" in result.stderr) == (9, True)
        assert "Ann" in result.stdout
        assert run("sync", str(book), "--rejects", str(tmp_path)).exit_code == 2
        assert run("sync", str(book), "--rejects", str(tmp_path / "no" / "file")).exit_code == 7


@pytest.mark.usefixtures("signed_in")
class TestWatchNew:
    """--watch-new prints those whom no earlier run has shown."""

    def test_who_arrived(self, run: Run, server: LookupServer, book: Path) -> None:
        """Everybody is new at first, then those only who came since, whatever the epoch."""
        watch = ("sync", str(book), "--watch-new", "--output", "jsonl")
        assert names(run(*watch).stdout) == ["Ann", "Ben"]
        result = run(*watch)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.endswith("2 here, 0 new\n")
        server.here.add(CARLA)
        server.epoch = 2
        assert names(run(*watch).stdout) == ["Carla"]
        server.here = {BEN}
        assert names(run(*watch).stdout) == []
        server.here = {BEN, ANN}
        assert names(run(*watch).stdout) == ["Ann"]

    def test_a_run_without_it_counts(self, run: Run, server: LookupServer, book: Path) -> None:
        """Who was shown in any run is not new."""
        run("sync", str(book))
        assert "0 new" in run("sync", str(book), "--watch-new").stdout

    def test_people_who_were_not_printed_stay_new(
        self, run: Run, server: LookupServer, book: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A run whose output broke off has shown nobody."""

        def broken(*_: object) -> None:
            raise BrokenPipeError

        with monkeypatch.context() as broken_pipe:
            broken_pipe.setattr("kith.commands.contacts.print_matches", broken)
            with pytest.raises(BrokenPipeError):
                run("sync", str(book))
        watched = run("sync", str(book), "--watch-new", "--output", "jsonl").stdout
        assert names(watched) == ["Ann", "Ben"]

    def test_an_empty_file(self, run: Run, server: LookupServer, book: Path) -> None:
        """An export that failed makes nobody new."""
        run("sync", str(book))
        book.write_text("")
        assert run("sync", str(book)).exit_code == 0
        book.write_text(BOOK)
        assert "0 new" in run("sync", str(book), "--watch-new").stdout

    def test_a_run_that_ran_out_of_budget(self, run: Run, server: LookupServer, book: Path) -> None:
        """It shows whom it found, once, and forgets nobody whom it did not come to."""
        watch = ("sync", str(book), "--watch-new", "--output", "jsonl")
        server.left = 2
        found = names(run(*watch).stdout)
        server.left = 2
        found += names(run(*watch).stdout)
        assert sorted(found) == ["Ann", "Ben"]
        server.epoch, server.left = 2, 1
        run(*watch)
        server.left = 100
        assert names(run(*watch).stdout) == []


@pytest.mark.usefixtures("signed_in")
class TestExitCodes:
    """A job can tell what to do next."""

    def test_a_budget_that_is_used_up(self, run: Run, server: LookupServer, book: Path) -> None:
        """8: what was done is kept and shown, what is left and when to come back is said."""
        server.left = 1
        result = run("sync", str(book), "--quiet", "--strict")

        assert result.exit_code == 8
        assert result.stderr == (
            "kith: The budget is used up: 2 numbers were not asked about.\n"
            "      What was done is kept; the next run goes on from here. Come back in 2 hours."
            " 50 a day come back, so the last number is due in 58 minutes.\n"
        )
        server.left = 2
        assert run("sync", str(book)).exit_code == 0
        assert sum(server.charges) == 3

    def test_a_server_that_fails_in_the_middle(
        self, run: Run, server: LookupServer, script: Script, book: Path
    ) -> None:
        """6: what was answered is kept."""
        server.max_hashes = 2
        lookups = server._look_up
        script.on(LOOKUPS, lookups, problem("service-unavailable", 503))
        assert run("sync", str(book)).exit_code == 6
        script.on(LOOKUPS, lookups)
        assert run("sync", str(book)).exit_code == 0
        assert server.charges == [2, 1, 0]

    def test_two_runs_at_a_time(
        self, run: Run, server: LookupServer, book: Path, tmp_path: Path
    ) -> None:
        """6: the second may come later."""
        path = tmp_path / "state.db"
        with State(path):
            result = run("sync", str(book), "--state", str(path))
        assert (result.exit_code, "Another sync" in result.stderr) == (6, True)

    def test_a_broken_state(
        self, run: Run, server: LookupServer, book: Path, tmp_path: Path
    ) -> None:
        """7: a local file has to be moved away."""
        path = tmp_path / "state.db"
        path.write_text("no database")
        result = run("sync", str(book), "--state", str(path))
        assert (result.exit_code, "Move it away" in result.stderr) == (7, True)
        assert path.read_text() == "no database"


class TestStates:
    """Each asker and each book has a state of its own."""

    @pytest.fixture
    def states(self, tmp_path: Path) -> Iterator[Path]:
        """Return where states are kept."""
        yield tmp_path / "state" / "kith"

    @pytest.mark.usefixtures("signed_in")
    def test_one_a_book(
        self, run: Run, server: LookupServer, book: Path, states: Path, tmp_path: Path
    ) -> None:
        """However a book is named, its state is the same; stdin is one book."""
        run("sync", str(book))
        run("sync", str(tmp_path / "config" / ".." / "book.csv"))
        assert len(list(states.glob("sync-*"))) == 1
        run("sync", "-", stdin=f"Phone\n{ANN}\n")
        run("sync", "-", stdin=f"Phone\n{ANN}\n")
        assert len(list(states.glob("sync-*"))) == 2
        assert server.charges == [3, 0, 1, 0]
