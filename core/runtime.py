"""What every part of the service is built from, and what every part offers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from argon2 import PasswordHasher
from click import Command
from flask_openapi3 import APIBlueprint

from core.database import Database
from core.maintenance import Job
from core.metrics import Metrics
from core.name_resolver import Resolve
from core.secrets import Keyring


@dataclass(frozen=True)
class Runtime:
    """What a process has once: the seams that tests replace, and what core builds on them.

    clock: the time, in UTC. entropy: so many random bytes. resolver: the addresses of a host name.
    """

    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    hasher: PasswordHasher
    resolver: Resolve
    database: Database
    keyring: Keyring
    metrics: Metrics


class Part:
    """One part of the service: its `wiring.py` builds its services from the runtime and its settings.

    The constructor builds and connects; nothing runs before `start`.
    """

    #: Routes.
    blueprints: Sequence[APIBlueprint] = ()
    #: Groups of commands for operators, under `flask --app app`.
    commands: Sequence[Command] = ()
    #: Periodic work, in the order in which it is done.
    jobs: Sequence[Job] = ()

    def start(self) -> None:
        """Start what runs beside requests, in the process that serves; never before a fork."""

    def close(self) -> None:
        """Close connections to other servers before the process ends."""
