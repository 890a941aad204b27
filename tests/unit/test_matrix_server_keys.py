"""Keys of homeservers are cached within bounds, however many a client names."""

from datetime import timedelta

import pytest
from nacl.signing import SigningKey

from core.database import Database
from core.rate_limits import RateLimit
from core.requester import Requester
from core.secrets import Keyring
from interop.matrix.problems import TooManyHomeserverKeys
from interop.matrix.server_keys import ServerKeyCache, ServerKeys
from tests.conftest import Clock

KEY = SigningKey.generate().verify_key
HOME = Requester("192.0.2.1", "192.0.2.0/24")
PLENTY = RateLimit("matrix-server-key-requests", 1_000, timedelta(hours=1))


@pytest.fixture
def dialect() -> str:
    """The limit behind it is tested on both elsewhere."""
    return "sqlite"


class Federation:
    """Homeservers that each publish one key."""

    def __init__(self, clock: Clock, life: timedelta = timedelta(days=1)) -> None:
        self.asked: list[str] = []
        self._clock = clock
        self._life = life

    def ask(self, server_name: str) -> ServerKeys:
        """Answer for a homeserver."""
        self.asked.append(server_name)
        return ServerKeys({"ed25519:1": KEY}, self._clock() + self._life)


def cache_of(
    database: Database, clock: Clock, federation: Federation, questions: RateLimit = PLENTY
) -> ServerKeyCache:
    """Cache three homeservers at most."""
    keyring = Keyring((b"k" * 32,))
    return ServerKeyCache(database, clock, keyring, federation.ask, questions, max_cached=3)


def test_the_oldest_is_forgotten(database: Database, clock: Clock) -> None:
    """Of four homeservers the first is asked again, and the other three are not."""
    federation = Federation(clock)
    keys = cache_of(database, clock, federation)
    for name in ("a.example", "b.example", "c.example", "d.example"):
        assert keys.find(name, "ed25519:1", HOME) == KEY
    for name in ("d.example", "c.example", "b.example"):
        assert keys.find(name, "ed25519:1", HOME) == KEY
    assert len(federation.asked) == 4
    keys.find("a.example", "ed25519:1", HOME)
    assert federation.asked[4:] == ["a.example"]


def test_a_key_holds_no_longer_than_its_homeserver_says(database: Database, clock: Clock) -> None:
    """An hour at most, and less when the homeserver says so."""
    federation = Federation(clock, life=timedelta(minutes=5))
    keys = cache_of(database, clock, federation)
    for minutes, asked in ((0, 1), (4, 1), (1, 2)):
        clock.advance(minutes=minutes)
        assert keys.find("a.example", "ed25519:1", HOME) == KEY
        assert len(federation.asked) == asked


def test_questions_are_counted_before_they_are_asked(database: Database, clock: Clock) -> None:
    """Over the limit nobody is asked, and what is known is known still."""
    federation = Federation(clock)
    limit = RateLimit("matrix-server-key-requests", 2, timedelta(hours=1))
    keys = cache_of(database, clock, federation, limit)
    keys.find("a.example", "ed25519:1", HOME)
    assert keys.find("a.example", "ed25519:2", HOME) is None
    with pytest.raises(TooManyHomeserverKeys) as refused:
        keys.find("b.example", "ed25519:1", HOME)
    assert refused.value.retry_after == 1800
    assert federation.asked == ["a.example", "a.example"]
    assert keys.find("a.example", "ed25519:1", HOME) == KEY
    elsewhere = Requester("198.51.100.1", "198.51.100.0/24")
    assert keys.find("b.example", "ed25519:1", elsewhere) == KEY
