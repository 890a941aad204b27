"""The whole journey, played step by step against a fresh server: `make demo`.

Two people register with the `kith` command, one syncs an address book that an iPhone exported, finds the
other and writes to him, and he reads it; the server cannot.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from tests.server import ROOT, running_server

ADA, BOB = "+14165550123", "+14165550199"
TEXT = "See you at eight"
ADDRESS_BOOK = ROOT / "tests" / "data" / "vcards" / "John_Doe_IPHONE.vcf"
CARD_OF_BOB = """BEGIN:VCARD
VERSION:3.0
FN:Bob
TEL;TYPE=CELL:(416) 555-0199
END:VCARD
"""
#: The demo takes no settings of whoever runs it.
OUTSIDE = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
console = Console(highlight=False, soft_wrap=True)


def step(title: str) -> None:
    """Say what comes next."""
    console.print(f"\n[bold]{title}[/bold]")


class Person:
    """Someone with a shell of her own."""

    def __init__(self, name: str, base_url: str, directory: Path) -> None:
        self.name = name
        self.base_url = base_url
        self.credentials = directory / f"{name}.json"

    def types(self, *words: str) -> str:
        """Run the `kith` command as this person and show it; give what it printed."""
        console.print(f"[dim]{self.name}$[/dim] {escape(shlex.join(('kith', *words)))}")
        environment = OUTSIDE | {
            "KITH_SERVER": self.base_url,
            "KITH_CREDENTIALS": str(self.credentials),
            "XDG_STATE_HOME": str(self.credentials.parent),
        }
        done = subprocess.run(
            [sys.executable, "-m", "kith", *words],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        console.print((done.stdout + done.stderr).rstrip(), markup=False)
        if done.returncode:
            raise SystemExit(f"the demo stopped: kith ended with {done.returncode}")
        return done.stdout


def play(base_url: str, directory: Path) -> None:
    """Play the journey."""
    ada, bob = Person("ada", base_url, directory), Person("bob", base_url, directory)
    step("1. Two people prove their numbers. The mock provider keeps the texts; --dev reads them.")
    ada.types("register", ADA, "--dev", "--name", "Ada's iPhone")
    bob.types("register", BOB, "--dev", "--name", "Bob's Pixel")

    step("2. Ada syncs the address book of her iPhone, to which Bob's card was added.")
    book = directory / "John_Doe_IPHONE.vcf"
    shutil.copy(ADDRESS_BOOK, book)
    with book.open("a") as file:
        file.write(CARD_OF_BOB)
    ada.types("sync", str(book))
    found = json.loads(ada.types("sync", str(book), "--json"))
    (match,) = found["matches"]

    step("3. Ada writes to Bob, encrypted for each of his devices.")
    ada.types("send", "Bob", TEXT)

    step("4. Bob receives it; nobody on the way could read it.")
    (message,) = json.loads(bob.types("inbox", "--json"))
    if message["text"] != TEXT or message["from_account_id"] == match["account_id"]:
        raise SystemExit("the demo failed: the message did not arrive as it was sent")
    stored = b"".join(file.read_bytes() for file in (directory / "data").glob("kith.db*"))
    console.print(f"the server's database, {len(stored):,} bytes, has none of it")
    if TEXT.encode() in stored:
        raise SystemExit("the demo failed: the server can read the message")
    console.print("\n[bold green]The journey is complete.[/bold green]")


def main() -> None:
    """Serve a fresh database on a free port and play on it."""
    with tempfile.TemporaryDirectory(prefix="kith-demo-") as name:
        directory = Path(name)
        environment = {"KITH_DATA_DIR": str(directory / "data"), "KITH_LOG_LEVEL": "warning"}
        step("0. A fresh server starts, on SQLite and the mock provider.")
        subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=ROOT,
            env=OUTSIDE | environment,
            check=True,
        )
        with running_server(environment, directory / "server.log") as server:
            console.print(f"it answers at {server.base_url}")
            play(server.base_url, directory)


if __name__ == "__main__":
    main()
