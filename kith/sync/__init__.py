"""Matches an address book against a server.

The book is read once into a temporary database (`book`, `book_reader`) and looked up in pages (`lookups`);
a state file (`state`) keeps what was paid for. Memory stays bounded and nothing is paid for twice.
"""

from kith.sync.book import Book, Match
from kith.sync.book_reader import gather
from kith.sync.lookups import Outcome, synchronise
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
