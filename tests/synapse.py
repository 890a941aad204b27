"""A real Synapse for contract tests, in a virtual environment of its own that is kept in the user's cache.

It is none of our requirements: what it needs is installed apart, and where that fails its tests are skipped.
"""

import fcntl
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote

from tests.matrix import CERTIFICATE

VERSION = "1.163.2"
CONSTRAINTS = Path(__file__).with_name("synapse_constraints.txt")
INSTALL_SECONDS, START_SECONDS, STOP_SECONDS = 300, 60, 10
#: Requests of one test are many in a second.
NO_LIMIT = {"per_second": 1000, "burst_count": 1000}


class SynapseMissing(Exception):
    """Synapse cannot be had here."""


def synapse_python() -> Path:
    """Give the interpreter of an environment with Synapse; make it when it is not there yet.

    Raises SynapseMissing with a reason.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kith"
    home = cache / f"synapse-{VERSION}-python{sys.version_info[0]}.{sys.version_info[1]}"
    python = home / "bin" / "python"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Tests run in several processes; one makes it and the others wait.
        with (cache / "synapse.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (home / "complete").exists():
                shutil.rmtree(home, ignore_errors=True)
                _install(home, python)
    except (OSError, subprocess.SubprocessError) as error:
        raise SynapseMissing(
            f"matrix-synapse {VERSION} was not installed: {type(error).__name__}"
        ) from None
    return python


def _install(home: Path, python: Path) -> None:
    quiet: dict[str, Any] = {"check": True, "capture_output": True, "timeout": INSTALL_SECONDS}
    subprocess.run([sys.executable, "-m", "venv", str(home)], **quiet)
    package = [f"matrix-synapse=={VERSION}", "-c", str(CONSTRAINTS)]
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--only-binary=:all:",
    ]
    subprocess.run([*pip, *package], **quiet)
    (home / "complete").touch()


@dataclass
class Synapse:
    """A homeserver that runs, and its client API."""

    port: int
    log: Path

    @property
    def server_name(self) -> str:
        """How it is named; whoever asks for that must be led to the loopback."""
        return f"hs.example:{self.port}"

    def call(
        self, method: str, path: str, body: Any = None, token: str | None = None
    ) -> tuple[int, Any]:
        """Call its client API; give status and answer."""
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}/_matrix/client/v3{path}",
            data=None if method == "GET" else json.dumps(body or {}).encode(),
            headers=headers,
            method=method,
        )
        trust = ssl.create_default_context(cafile=str(CERTIFICATE))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)

    def register(self, name: str) -> "SynapseUser":
        """Register a user."""
        password = secrets.token_urlsafe(16)
        body = {"username": name, "password": password, "auth": {"type": "m.login.dummy"}}
        status, answer = self.call("POST", "/register", body)
        assert status == 200, answer
        return SynapseUser(self, answer["user_id"], answer["access_token"], password)


@dataclass
class SynapseUser:
    """A user, logged in."""

    homeserver: Synapse
    user_id: str
    token: str
    password: str

    def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Post as this user."""
        return self.homeserver.call("POST", path, body, self.token)

    def openid(self) -> dict[str, Any]:
        """Get an OpenID token."""
        status, answer = self.post(f"/user/{quote(self.user_id)}/openid/request_token")
        assert status == 200, answer
        return dict(answer)

    def deactivate(self) -> tuple[int, Any]:
        """Leave."""
        identifier = {"type": "m.id.user", "user": self.user_id}
        auth = {"type": "m.login.password", "identifier": identifier, "password": self.password}
        return self.post("/account/deactivate", {"auth": auth})


def free_port() -> int:
    """Give a port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running_synapse(directory: Path) -> Iterator[Synapse]:
    """Run a homeserver in this block, on the loopback alone; raises SynapseMissing."""
    python = synapse_python()
    synapse = Synapse(free_port(), directory / "synapse.log")
    config = directory / "homeserver.yaml"
    # JSON is YAML.
    config.write_text(json.dumps(_config(synapse, directory)))
    command = [str(python), "-m", "synapse.app.homeserver", "-c", str(config)]
    subprocess.run([*command, "--generate-keys"], check=True, capture_output=True, timeout=60)
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with synapse.log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            # What it believes of an identity server's certificate.
            env=environment | {"SSL_CERT_FILE": str(CERTIFICATE)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _await_ready(synapse, process)
            yield synapse
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_SECONDS)


def _config(synapse: Synapse, directory: Path) -> dict[str, Any]:
    return {
        "server_name": synapse.server_name,
        "pid_file": str(directory / "synapse.pid"),
        "listeners": [
            {
                "port": synapse.port,
                "type": "http",
                "tls": True,
                "bind_addresses": ["127.0.0.1"],
                "resources": [{"names": ["client", "federation"]}],
            }
        ],
        "tls_certificate_path": str(CERTIFICATE),
        "tls_private_key_path": str(CERTIFICATE),
        "database": {"name": "sqlite3", "args": {"database": str(directory / "synapse.db")}},
        "media_store_path": str(directory / "media"),
        "signing_key_path": str(directory / "signing.key"),
        "macaroon_secret_key": secrets.token_urlsafe(32),
        "form_secret": secrets.token_urlsafe(32),
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "report_stats": False,
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        # The identity server is on the loopback too.
        "ip_range_blacklist": [],
        "ip_range_whitelist": ["127.0.0.0/8"],
        "rc_registration": NO_LIMIT,
        "rc_login": {"address": NO_LIMIT, "account": NO_LIMIT, "failed_attempts": NO_LIMIT},
        "rc_invites": {"per_room": NO_LIMIT, "per_user": NO_LIMIT, "per_issuer": NO_LIMIT},
        "rc_third_party_invite": NO_LIMIT,
    }


def _await_ready(synapse: Synapse, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            synapse.call("GET", "/login")
        except (URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"Synapse did not start: {synapse.log.read_text()[-2000:]}")
