"""Signing keys of homeservers: parsing and verifying them, and a cache. Requests are in federation.py."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from core import rate_limits
from core.database import Database
from core.rate_limits import RateLimit
from core.requester import Requester
from core.secrets import Keyring
from interop.matrix.limits import SERVER_KEY_REQUESTS
from interop.matrix.problems import TooManyHomeserverKeys
from interop.matrix.signing import canonical_json, decode_base64

#: A withdrawn key is accepted for up to this long.
MAX_CACHE_AGE = timedelta(hours=1)
#: Cached homeservers; strangers can name any number.
MAX_CACHED = 1_000
MAX_KEYS = 16
ED25519 = "ed25519:"


@dataclass(frozen=True)
class ServerKeys:
    """The Ed25519 keys of a homeserver by their ids, and until when they are valid."""

    keys: Mapping[str, VerifyKey]
    until: datetime

    @classmethod
    def read(cls, body: bytes, server_name: str, now: datetime) -> "ServerKeys | None":
        """Parse the answer of `GET /_matrix/key/v2/server` (server-server API, "Publishing Keys").

        Only keys that signed the answer are valid. None if there is none, or the answer has expired or is
        another server's.
        """
        try:
            document: Any = json.loads(body)
            named = document["verify_keys"].items()
            signatures = document["signatures"][server_name]
            until = datetime.fromtimestamp(document["valid_until_ts"] / 1000, UTC)
            if document["server_name"] != server_name:
                return None
            signed = canonical_json(
                {k: v for k, v in document.items() if k not in ("signatures", "unsigned")}
            )
            found = {
                str(key_id): _read_key(entry["key"]) for key_id, entry in list(named)[:MAX_KEYS]
            }
            keys = {
                key_id: key
                for key_id, key in found.items()
                if key_id.startswith(ED25519)
                and key is not None
                and verifies(key, signed, signatures.get(key_id))
            }
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError):
            return None
        except RecursionError:
            return None
        return cls(keys, until) if keys and until > now else None


def _read_key(text: str) -> VerifyKey | None:
    data = decode_base64(text)
    return VerifyKey(data) if data is not None and len(data) == 32 else None


def verifies(key: VerifyKey, message: bytes, signature: str | None) -> bool:
    """Return whether a signature, as base64, is a key's over a message."""
    data = decode_base64(signature) if signature else None
    if data is None or len(data) != 64:
        return False
    try:
        key.verify(message, data)
    except BadSignatureError:
        return False
    return True


@dataclass(frozen=True)
class ServerKeyCache:
    """A cache of homeservers' keys, in this process; misses are rate-limited by the requester's network."""

    database: Database
    clock: Callable[[], datetime]
    keyring: Keyring
    fetch: Callable[[str], ServerKeys]
    requests: RateLimit = SERVER_KEY_REQUESTS
    max_cached: int = MAX_CACHED
    _cached: dict[str, ServerKeys] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def find(self, server_name: str, key_id: str, requester: Requester) -> VerifyKey | None:
        """Return a key of a homeserver by its id; None if it has no such key.

        Raises TooManyHomeserverKeys before it is asked, and HomeserverUnavailable.
        """
        now = self.clock()
        cached = self._cached.get(server_name)
        # An unknown key may be new.
        if cached is None or cached.until <= now or key_id not in cached.keys:
            self._count(requester, now)
            fetched = self.fetch(server_name)
            cached = ServerKeys(fetched.keys, min(fetched.until, now + MAX_CACHE_AGE))
            self._store(server_name, cached)
        return cached.keys.get(key_id)

    def _count(self, requester: Requester, now: datetime) -> None:
        with self.database.write() as connection:
            network = self.keyring.digest("requester", requester.network)
            allowed, status = rate_limits.consume(connection, self.requests, network, now)
        if not allowed:
            raise TooManyHomeserverKeys("Try again later.", rate_limit=status)

    def _store(self, server_name: str, keys: ServerKeys) -> None:
        with self._lock:
            self._cached.pop(server_name, None)
            if len(self._cached) >= self.max_cached:
                del self._cached[next(iter(self._cached))]
            self._cached[server_name] = keys
