"""Keys of homeservers: what one says of its own, and the few that are remembered for an hour.

What a homeserver is asked, and where that question goes, is decided in federation.py.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from interop.matrix.signing import canonical_json, decoded

#: A key that was withdrawn is believed for so long still.
REMEMBERED_FOR = timedelta(hours=1)
#: Homeservers whose keys are remembered, of which strangers may name any number.
MAX_REMEMBERED = 1_000
MAX_KEYS = 16
ED25519 = "ed25519:"


@dataclass(frozen=True)
class ServerKeys:
    """The Ed25519 keys of a homeserver by their names, and until when they hold."""

    keys: Mapping[str, VerifyKey]
    until: datetime

    @classmethod
    def read(cls, body: bytes, server_name: str, now: datetime) -> "ServerKeys | None":
        """Read what `GET /_matrix/key/v2/server` answered (server-server API, "Publishing Keys").

        A key counts when the answer is signed with it. None for an answer without such a key, one of
        another server, or one whose time is over.
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
    data = decoded(text)
    return VerifyKey(data) if data is not None and len(data) == 32 else None


def verifies(key: VerifyKey, message: bytes, signature: str | None) -> bool:
    """Say whether a signature, as base64, is a key's over a message."""
    data = decoded(signature) if signature else None
    if data is None or len(data) != 64:
        return False
    try:
        key.verify(message, data)
    except BadSignatureError:
        return False
    return True


class RememberedKeys:
    """Gives the keys of homeservers, each asked for once in an hour.

    A copy in this process: what it does not know it asks for, as often as an hour holds for a network.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        keyring: Keyring,
        ask: Callable[[str], ServerKeys],
        requests: RateLimit = SERVER_KEY_REQUESTS,
        max_remembered: int = MAX_REMEMBERED,
    ) -> None:
        self._database = database
        self._clock = clock
        self._keyring = keyring
        self._ask = ask
        self._requests = requests
        self._max_remembered = max_remembered
        self._known: dict[str, ServerKeys] = {}
        self._lock = threading.Lock()

    def find(self, server_name: str, key_id: str, requester: Requester) -> VerifyKey | None:
        """Give a key of a homeserver; None when it has no key of that name.

        Raises TooManyHomeserverKeys before it is asked, and HomeserverUnavailable.
        """
        now = self._clock()
        known = self._known.get(server_name)
        # A key that is not known may be new.
        if known is None or known.until <= now or key_id not in known.keys:
            self._count(requester, now)
            asked = self._ask(server_name)
            known = ServerKeys(asked.keys, min(asked.until, now + REMEMBERED_FOR))
            self._remember(server_name, known)
        return known.keys.get(key_id)

    def _count(self, requester: Requester, now: datetime) -> None:
        with self._database.write() as connection:
            network = self._keyring.digest("requester", requester.network)
            allowed, status = rate_limits.consume(connection, self._requests, network, now)
        if not allowed:
            raise TooManyHomeserverKeys("Try again later.", rate_limit=status)

    def _remember(self, server_name: str, keys: ServerKeys) -> None:
        with self._lock:
            self._known.pop(server_name, None)
            if len(self._known) >= self._max_remembered:
                del self._known[next(iter(self._known))]
            self._known[server_name] = keys
