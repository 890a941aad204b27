"""`kith sync` as a job: formats, people who are new, exit codes, service tokens."""

import csv
import hashlib
import io
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kith.sync import State
from tests.unit.kith.canned import ACCOUNT, Script, ok, problem
from tests.unit.kith.conftest import SERVER, Run
from tests.unit.kith.lookup_server import LOOKUPS, PEOPLE, LookupServer, account_of
from tests.unit.kith.states import as_version_1

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
        assert (result.exit_code, "1 line or number could" in result.stderr) == (9, True)
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
            broken_pipe.setattr("kith.commands.sync.print_matches", broken)
            assert run("sync", str(book)).exit_code == 141
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
            "kith: The budget is used up: 2 numbers were not looked up.\n"
            "      What was done is kept; the next run continues. Try again in 2 hours."
            " 50 are refilled each day, so the rest can be looked up tomorrow.\n"
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
    """What was paid for is the account's, and who was shown is the book's."""

    @pytest.fixture
    def states(self, tmp_path: Path) -> Iterator[Path]:
        """Return where states are kept."""
        yield tmp_path / "state" / "kith"

    @pytest.mark.usefixtures("signed_in")
    def test_the_account_has_paid_under_any_name(
        self, run: Run, server: LookupServer, book: Path, states: Path, tmp_path: Path
    ) -> None:
        """The same book elsewhere, half of it, and stdin cost nothing; who was shown is the book's."""
        copy = tmp_path / "contacts (1).csv"
        copy.write_text(BOOK + "Dan,+4915244444444\n")
        half = tmp_path / "half.jsonl"
        half.write_text(f'{{"name": "Ben", "phone": "{BEN}"}}\n')

        assert "2 here, 2 new" in run("sync", str(book), "--watch-new").stdout
        assert "2 here, 2 new" in run("sync", str(copy), "--watch-new").stdout
        assert "1 here, 1 new" in run("sync", str(half), "--watch-new").stdout
        assert "2 here" in run("sync", "-", stdin=BOOK).stdout
        assert "2 here, 0 new" in run("sync", str(book), "--watch-new").stdout

        assert sum(server.charges) == 4
        assert len(list(states.glob("sync-*"))) == 1

    @pytest.mark.usefixtures("signed_in")
    def test_a_book_larger_than_the_budget_under_another_name(
        self, run: Run, server: LookupServer, tmp_path: Path
    ) -> None:
        """Who was found stays found, and the rest waits, whatever the file is called."""
        server.here, server.left = set(PEOPLE), 60
        paths = [tmp_path / name for name in ("contacts.csv", "contacts (1).csv")]
        for path in paths:
            path.write_text("Phone\n" + "\n".join(PEOPLE) + "\n")

        results = [run("sync", str(path)) for path in paths]

        assert [result.exit_code for result in results] == [8, 8]
        for result in results:
            assert "60 here" in result.stdout
            assert "40 numbers were not looked up" in result.stderr
            assert "50 are refilled each day, so the rest can be looked up tomorrow" in (
                result.stderr
            )
        assert sum(server.charges) == 60

    @pytest.mark.usefixtures("signed_in")
    def test_what_waits_longer_is_said(
        self, run: Run, server: LookupServer, tmp_path: Path
    ) -> None:
        """How many come tomorrow, and when the last one does."""
        path = tmp_path / "contacts.csv"
        path.write_text("Phone\n" + "\n".join(PEOPLE) + "\n")
        server.left = 0

        result = run("sync", str(path))

        assert "50 are refilled each day: 50 more tomorrow, the last in 2 days." in result.stderr

    def test_services_do_not_share(
        self, run: Run, server: LookupServer, book: Path, states: Path
    ) -> None:
        """Each budget_owner that the server tells apart has a state, and a next token of it has the same."""
        for budget_owner, token in (
            ("crm", "kithsvc_1"),
            ("shop", "kithsvc_2"),
            ("crm", "kithsvc_3"),
        ):
            server.budget_owner = budget_owner
            run("--server", SERVER, "sync", str(book), env={"KITH_TOKEN": token})
        assert sum(server.charges) == 6
        assert len(list(states.glob("sync-*"))) == 2
        server.budget_owner = None
        for token in ("kithsvc_1", "kithsvc_2"):
            run("--server", SERVER, "sync", str(book), env={"KITH_TOKEN": token})
        assert len(list(states.glob("sync-*"))) == 4

    @pytest.mark.usefixtures("signed_in")
    def test_states_of_one_book_each_are_taken_over(
        self, run: Run, server: LookupServer, book: Path, states: Path
    ) -> None:
        """What was paid for before accounts had one state is still free, and who was shown is not new."""
        assert run("sync", str(book)).exit_code == 0
        (path,) = states.glob("sync-*.db")
        identity = f"{SERVER} {ACCOUNT['account_id']}"
        name = hashlib.sha256(f"{identity}\0{book.resolve()}".encode()).hexdigest()[:32]
        former = path.rename(states / f"sync-{name}.db")
        as_version_1(former)

        assert "2 here, 0 new" in run("sync", str(book), "--watch-new").stdout

        assert sum(server.charges) == 3
        assert list(states.glob("sync-*")) == [path]


class TestAlarm:
    """A book without a number is no success that nobody notices."""

    @pytest.mark.usefixtures("signed_in")
    def test_contacts_without_numbers(self, run: Run, server: LookupServer) -> None:
        """It is said on stderr, also with --quiet, and --strict makes it count."""
        content = "Name,Mail\nAnn,ann@example.com\n"
        for words in ((), ("--quiet",), ("--json",)):
            result = run("sync", "-", *words, stdin=content)
            assert result.exit_code == 0
            assert "kith: no phone number was found in 1 contact" in result.stderr
        assert run("sync", "-", "--strict", stdin=content).exit_code == 9
        assert run("sync", "-", "--strict", stdin="").exit_code == 0

    @pytest.mark.usefixtures("signed_in")
    def test_one_is_not_many(self, run: Run, server: LookupServer) -> None:
        """One contact is said as one."""
        result = run("sync", "-", stdin=f"Phone\n{ANN}\n")
        assert result.stdout.splitlines()[-1] == "1 contact, 1 number, 0 unreadable, 1 here"
