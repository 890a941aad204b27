"""`kith sync` as a job: formats, people who are new, exit codes, service tokens."""

import csv
import io
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kith.sync import State
from tests.unit.kith.canned import ACCOUNT, TOKEN, Script, ok, problem
from tests.unit.kith.conftest import SERVER, Run
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
            f"{book}:5: {REASON}",
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
            "unreadable": [{"line": 5, "reason": REASON}],
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
        assert rejects.read_text() == f"{book}:5: {REASON}\n"
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
            " 50 numbers a day come back, so the last of them is due in 58 minutes.\n"
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
        assert len(list(states.iterdir())) == 1
        run("sync", "-", stdin=f"Phone\n{ANN}\n")
        run("sync", "-", stdin=f"Phone\n{ANN}\n")
        assert len(list(states.iterdir())) == 2
        assert server.charges == [3, 0, 1, 0]


class TestTokens:
    """A token given by itself serves a job that is no device."""

    @pytest.fixture
    def token_file(self, tmp_path: Path) -> Path:
        """Return a file with a service's token, as an editor leaves it."""
        path = tmp_path / "token"
        path.write_text("kithsvc_abc\n")
        return path

    def test_it_is_sent(
        self, run: Run, server: LookupServer, script: Script, book: Path, token_file: Path
    ) -> None:
        """The job asks with it and needs no account; a country must be said."""
        words = ("--server", SERVER, "--token-file", str(token_file), "sync", str(book))
        result = run(*words, "--region", "DE")

        assert result.exit_code == 0
        assert "Ann" in result.stdout
        assert {one.headers["Authorization"] for one in script.requests} == {"Bearer kithsvc_abc"}
        assert script.sent("GET /v1/account") == []

    def test_from_the_environment(
        self, run: Run, server: LookupServer, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """KITH_TOKEN is a token, and a file comes before it."""
        monkeypatch.setenv("KITH_SERVER", SERVER)
        monkeypatch.setenv("KITH_TOKEN", TOKEN)

        assert run("sync", "-", stdin="Phone\n0151 11111111\n").exit_code == 0
        assert run("sync", "-", stdin=f"Phone\n{ANN}\n").exit_code == 0
        assert script.requests[-1].headers["Authorization"] == f"Bearer {TOKEN}"

    def test_it_is_sent_to_nobody_who_was_not_named(
        self, run: Run, script: Script, token_file: Path, book: Path, signed_in: object
    ) -> None:
        """Which server a token is for must be said."""
        result = run("--token-file", str(token_file), "sync", str(book))
        assert (result.exit_code, "--server" in result.stderr) == (2, True)
        assert script.requests == []

    def test_other_commands_need_a_device(
        self, run: Run, script: Script, token_file: Path, signed_in: object
    ) -> None:
        """They are refused rather than run for somebody else."""
        result = run("--server", SERVER, "--token-file", str(token_file), "whoami")
        assert (result.exit_code, "sync only" in result.stderr) == (5, True)
        assert script.requests == []

    def test_no_token(self, run: Run, script: Script, book: Path, tmp_path: Path) -> None:
        """A missing file is 7, one that holds no token is 5 and its content is not shown."""
        path = tmp_path / "token"
        words = ("--server", SERVER, "--token-file", str(path), "sync", str(book))
        assert run(*words).exit_code == 7
        for content in ("", "two words"):
            path.write_text(content)
            result = run(*words)
            assert (result.exit_code, "two words" in result.stderr) == (5, False)
        assert script.requests == []

    def test_a_token_that_is_refused(
        self, run: Run, script: Script, token_file: Path, book: Path
    ) -> None:
        """3, with a word on where it came from."""
        script.on("GET /v1/discovery/parameters", problem("token-invalid", 401))
        words = ("--server", SERVER, "--token-file", str(token_file), "sync", str(book))
        result = run(*words)
        assert (result.exit_code, "--token-file" in result.stderr) == (3, True)
