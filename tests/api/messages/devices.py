"""Devices that run the `kith` command, and the messenger, against the application."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from click.testing import CliRunner, Result
from flask_openapi3 import OpenAPI

from kith.cli import main
from kith.commands.message_store import open_store
from kith.commands.session import Dependencies
from kith.messaging.store import Store
from kith.storage import Credentials, CredentialsFile, default_directory


@dataclass
class Terminal:
    """A profile of the command on one machine, whose state is below the test's directory."""

    app: OpenAPI
    profile: str

    def run(self, *arguments: str, exit_code: int = 0, stdin: str | None = None) -> Result:
        """Run a command; hold it to its exit code."""
        wiring = Dependencies(transport=httpx.WSGITransport(self.app), sleep=lambda _: None)
        given = ["--server", "https://kith.test", "--profile", self.profile, *arguments]
        result = CliRunner().invoke(main, given, obj=wiring, input=stdin, prog_name="kith")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == exit_code, result.output
        return result

    def json(self, *arguments: str) -> Any:
        """Run a command; return the JSON that it prints."""
        printed = self.run(*arguments, "--json").stdout
        # The application writes its log to the same terminal here.
        lines = [line for line in printed.splitlines() if not line.startswith('{"')]
        return json.loads("\n".join(lines))

    def texts(self) -> list[str | None]:
        """Return the texts in the inbox."""
        return [message["text"] for message in self.json("inbox")]

    @property
    def credentials(self) -> Credentials:
        """What the profile is signed in as."""
        return self._file.load()

    def store(self) -> Store:
        """Open the message store."""
        return open_store(self._file, self.credentials)

    @property
    def _file(self) -> CredentialsFile:
        return CredentialsFile(Path(default_directory()) / f"{self.profile}.json")
