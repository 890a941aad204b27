"""`kith sync` of a large book against a local server: contacts a second, and the client's memory.

    python -m bench.sync --contacts 1000000

The command runs as a person's shell would run it. Its first run pays for every number, its second
for none, from a budget that holds as many. Other settings are given as `--setting KITH_NAME=VALUE`.
"""

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

import click
import psutil
from rich.console import Console
from rich.table import Table

from bench import databases, jobs
from kith import Kith
from kith.api.discovery import digest_number
from tests.server import ROOT, running_server

ASKER = "+14165550123"
#: A card as phones write it, with little in it beside the number.
CARD = (
    "BEGIN:VCARD\nVERSION:3.0\nN:Doe;Person {n};;;\nFN:Person {n} Doe\n"
    "TEL;TYPE=CELL:+{digits}\nEND:VCARD\n"
)
ROW = "Person {n} Doe,+{digits}\n"


@dataclass(frozen=True)
class Run:
    """One run of the command: what it took, and how large it became."""

    name: str
    contacts: int
    here: int
    seconds: float
    processor_seconds: float
    peak_mib: float

    @property
    def rate(self) -> float:
        """How many contacts a second."""
        return self.contacts / self.seconds


def write_book(path: Path, contacts: int) -> None:
    """Write a book of so many people, each with a number of her own."""
    template = CARD if path.suffix == ".vcf" else ROW
    with path.open("w") as file:
        if path.suffix == ".csv":
            file.write("Name,Phone\n")
        order = list(range(contacts))
        random.Random(1).shuffle(order)
        for n in order:
            file.write(template.format(n=n, digits=jobs.digits(n)))


def people(contacts: int, share: float, salt: str) -> Iterator[tuple[bytes, UUID]]:
    """Give the directory's entries for a share of the book."""
    for n in range(int(contacts * share)):
        yield digest_number(jobs.digits(n), salt), UUID(int=n + 1)


def register(base_url: str) -> tuple[str, str]:
    """Register the budget owner; return its device token and the salt."""
    with Kith(base_url) as client:
        verification = client.start_verification(ASKER)
        body = client.outbox(ASKER)[0].body
        code = next(word for word in body.replace(".", " ").split() if word.isdigit())
        client.check_code(verification.id, code)
        client.device_token = client.register(verification.id).device_token
        return client.device_token, client.discovery_parameters().salt


def measure(name: str, words: list[str], environment: dict[str, str]) -> Run:
    """Run the command and wait for its end; its own figures come from its JSON and the kernel."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = psutil.Popen(
            [sys.executable, "-m", "kith", "sync", *words, "--json"],
            cwd=ROOT,
            env=environment,
            stdout=output,
        )
        peak, spent = 0, 0.0
        while process.poll() is None:
            peak, spent = max(peak, _peak_kib(process.pid)), sum(process.cpu_times()[:2])
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        if process.returncode:
            raise SystemExit(f"kith sync ended with {process.returncode}")
        output.seek(0)
        found = json.load(output)
    return Run(name, found["contacts"], found["here"], seconds, spent, peak / 1024)


def _peak_kib(pid: int) -> int:
    """Give the kernel's own peak; that of wait4() begins with the memory of whoever forked."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line), 0)


@click.command()
@click.option("--contacts", default=1_000_000, show_default=True)
@click.option("--share", default=0.25, show_default=True, help="Of them who are here.")
@click.option("--format", "form", type=click.Choice(["csv", "vcf"]), default="csv")
@click.option("--setting", "settings", multiple=True, metavar="KITH_NAME=VALUE")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(
    contacts: int, share: float, form: str, settings: tuple[str, ...], file: Path | None
) -> None:
    """Measure a first and a second sync of a book of generated contacts."""
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="kith-bench-sync-") as name:
        directory = Path(name)
        book = directory / f"book.{form}"
        write_book(book, contacts)
        with databases.fresh("sqlite", directory) as url:
            served = {
                "KITH_DATABASE_URL": url,
                "KITH_DATA_DIR": name,
                "KITH_LOG_LEVEL": "warning",
                "KITH_DISCOVERY_BURST": str(contacts),
                "KITH_DISCOVERY_PER_DAY": str(contacts),
            }
            served |= dict(setting.split("=", 1) for setting in settings)
            with running_server(served, directory / "server.log") as server:
                token, salt = register(server.base_url)
                console.print(f"… {int(contacts * share):,} people join", style="dim")
                databases.fill_directory(url, people(contacts, share, salt))
                databases.rebuild_snapshot(server, url, directory)
                outside = {k: v for k, v in os.environ.items() if not k.startswith("KITH_")}
                environment = outside | {
                    "KITH_SERVER": server.base_url,
                    "KITH_TOKEN": token,
                    "XDG_STATE_HOME": name,
                }
                runs = []
                for title in ("first run", "second run"):
                    console.print(f"… {title}", style="dim")
                    runs.append(measure(title, [str(book), "--quiet"], environment))
                state_mib = sum(f.stat().st_size for f in (directory / "kith").iterdir()) / 2**20
    table = Table(title=f"kith sync of {contacts:,} contacts ({form})")
    for heading in ("run", "contacts/s", "seconds", "CPU s", "peak MiB", "here"):
        table.add_column(heading, justify="right")
    for run in runs:
        table.add_row(
            run.name,
            f"{run.rate:,.0f}",
            f"{run.seconds:.1f}",
            f"{run.processor_seconds:.1f}",
            f"{run.peak_mib:.0f}",
            f"{run.here:,}",
        )
    Console().print(table)
    text = json.dumps(
        {
            "contacts": contacts,
            "share_here": share,
            "format": form,
            "cores": psutil.cpu_count(),
            "state_mib": round(state_mib, 1),
            "runs": [asdict(run) | {"contacts_per_second": round(run.rate)} for run in runs],
        },
        indent=2,
    )
    print(text)
    if file:
        file.write_text(text + "\n")


if __name__ == "__main__":
    main()
