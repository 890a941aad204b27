"""Own the matching of an address book against a server, which tells who of it is here.

The book is read once into a scratch database on disk (`book`, `reading`), asked about in pages
(`asking`), and what was paid for is kept in a state file (`state`), so that memory stays bounded
and nothing is paid for twice.
"""

from kith.sync.asking import Outcome, synchronise
from kith.sync.book import Book, Match
from kith.sync.reading import gather
from kith.sync.state import State, StateBroken, StateInUse

__all__ = [
    "Book",
    "Match",
    "Outcome",
    "State",
    "StateBroken",
    "StateInUse",
    "gather",
    "synchronise",
]
