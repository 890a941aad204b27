"""Discovery: the epoch that numbers are hashed in, who is listed, and lookups.

Owns who may be found: a number is in the directory exactly while its account wants to be, because
both change in one transaction. Refuses pages over the limit and hashes of another epoch.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, select

from core.database import Database, insert, table
from core.metrics import Metrics
from core.problems import InvalidFields
from discovery.directory import Directory
from discovery.hashes import decode_hashes, digest_number, encode_hash
from discovery.models import DiscoveryEpoch
from discovery.problems import EpochUnknown

SALT_SIZE = 32
FIRST_EPOCH = 1


@dataclass(frozen=True)
class Epoch:
    """What numbers are hashed with; `id` names it to clients, `number` in the directory."""

    number: int
    id: str
    salt: str
    expires_at: datetime | None


class DirectoryService:
    """Lists numbers as accounts change and answers who of a page of hashes is here."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        metrics: Metrics,
        directory: Directory,
        max_hashes: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._directory = directory
        self.max_hashes = max_hashes
        self._current: Epoch | None = None

    def parameters(self) -> Epoch:
        """Give the current epoch; the first call ever makes it."""
        if self._current is None:
            with self._database.write() as connection:
                epoch = self._epoch(connection)
            # Only now: an epoch whose transaction was rolled back never was.
            self._current = epoch
        return self._current

    def look_up(self, epoch_id: str, hashes: Sequence[str]) -> dict[str, UUID]:
        """Give the account of each hash that is a discoverable person's.

        hashes: each of HASH_PATTERN. Raises InvalidFields over `max_hashes`, EpochUnknown when they
        were made in another epoch.
        """
        if len(hashes) > self.max_hashes:
            raise InvalidFields.at("/hashes", f"at most {self.max_hashes} a lookup")
        epoch = self.parameters()
        if epoch_id != epoch.id:
            raise EpochUnknown("Fetch /v1/discovery/parameters and hash the numbers again.")
        digests = decode_hashes(hashes)
        with self._database.read() as connection:
            accounts = self._directory.match(connection, epoch.number, digests)
        self._metrics.looked_up.inc(len(hashes))
        self._metrics.matched.inc(len(accounts))
        return {encode_hash(digest): account_id for digest, account_id in accounts.items()}

    def listing_changed(
        self, connection: Connection, account_id: UUID, e164: str, listed: bool
    ) -> None:
        """Put a number into the directory or take it out, in the transaction that decides it."""
        epoch = self._current or self._epoch(connection)
        change = self._directory.list_account if listed else self._directory.unlist
        change(connection, epoch.number, digest_number(e164, epoch.salt), account_id)

    def _epoch(self, connection: Connection) -> Epoch:
        """Read the current epoch; when there is none, make the first, whoever else does so too."""
        current = (
            select(*table(DiscoveryEpoch).columns)
            .where(DiscoveryEpoch.expires_at.is_(None))
            .order_by(DiscoveryEpoch.number.desc())
            .limit(1)
        )
        row = connection.execute(current).one_or_none()
        if row is None:
            salt = encode_hash(self._entropy(SALT_SIZE))
            connection.execute(
                insert(connection, DiscoveryEpoch)
                .values(
                    number=FIRST_EPOCH,
                    id=encode_hash(hashlib.sha256(salt.encode()).digest())[:8],
                    salt=salt,
                    created_at=self._clock(),
                )
                .on_conflict_do_nothing()
            )
            row = connection.execute(current).one()
        return Epoch(row.number, row.id, row.salt, row.expires_at)
