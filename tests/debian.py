"""Foreign engines for tests: Debian packages, unpacked into a cache and run from there without root.

Where a package cannot be had the test is skipped with the reason; with REQUIRE_ENGINES set (CI), it fails.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

#: `apt-get` needs no lock for what it only simulates.
_APT = ("apt-get", "-qq", "-o", "Debug::NoLocking=true")
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_SECONDS = 180


@dataclass(frozen=True)
class Unpacked:
    """A package and the libraries of it that this machine lacks, under one directory."""

    root: Path

    def program(self, name: str) -> Path:
        """Give the path of a program of the package, or of the system where it is installed."""
        for folder in ("usr/sbin", "usr/bin", "sbin", "bin"):
            if (self.root / folder / name).exists():
                return self.root / folder / name
        found = shutil.which(name, path=_SYSTEM_PATH)
        assert found is not None, f"no package has {name}"
        return Path(found)

    @property
    def environment(self) -> dict[str, str]:
        """Give the environment in which its programs find their libraries."""
        libraries = [self.root / "lib", self.root / "usr/lib"]
        libraries += [folder for base in libraries for folder in base.glob("*-linux-gnu*")]
        return os.environ | {"LD_LIBRARY_PATH": ":".join(map(str, libraries))}


@cache
def unpack(package: str) -> Unpacked:
    """Fetch and unpack a Debian package, once per machine; skips the test where that is not possible."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        _do_without(f"{package} is needed from Debian, and this is no Debian")
    try:
        needed = _needed(package)
        # What it unpacks to is in the name: another version gets another directory.
        root = _cache() / "-".join([package, *sorted(needed.values())])[:200]
        with (_cache() / f"{package}.lock").open("w") as lock:
            # Of several processes of one test run the first fetches.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not root.exists():
                _fetch(list(needed), root)
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None) or error
        _do_without(f"{package} cannot be had from Debian: {str(said).strip()[-300:]}")
    return Unpacked(root)


def _do_without(reason: str) -> None:
    if os.environ.get("REQUIRE_ENGINES"):
        pytest.fail(reason)
    pytest.skip(reason)


def _cache() -> Path:
    # Not in a home: engines that refuse to run as root run as another user, who has to read it.
    place = Path("/var/tmp") / f"kith-engines-{os.geteuid()}"
    place.mkdir(mode=0o755, exist_ok=True)
    if place.stat().st_uid != os.geteuid():
        raise OSError(f"{place} belongs to somebody else")
    return place


def _needed(package: str) -> dict[str, str]:
    """Name the packages that installing one would install, with their versions."""
    plan = _run(*_APT, "--simulate", "--no-install-recommends", "install", package)
    if f"Inst {package} " not in plan:
        # It is installed; its programs are the system's.
        return {}
    return dict(re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", plan, re.MULTILINE))


def _fetch(packages: list[str], root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root.parent) as directory:
        draft = Path(directory) / "root"
        draft.mkdir()
        if packages:
            # Nobody else may have to read it, so apt has no user of its own to change to.
            _run(*_APT, "-o", "APT::Sandbox::User=", "download", *packages, where=directory)
        for archive in sorted(Path(directory).glob("*.deb")):
            _run("dpkg-deb", "--extract", str(archive), str(draft))
        # Its programs may be run by another user than the one who unpacked them.
        draft.chmod(0o755)
        draft.rename(root)


def _run(*command: str, where: str | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=where, timeout=_SECONDS
    )
    return done.stdout
