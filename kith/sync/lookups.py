"""Looks up an address book page by page, within the budget.

A page is a set of hashes with a sync token. Pages are filled one after the other and keep their hashes, so
that a changed book changes the last page only: hashes of removed contacts stay in their page (a token proves
no part of its set) until the epoch ends.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kith.client import Kith
from kith.errors import KithProblem
from kith.models import Budget, DiscoveryParameters, base64url
from kith.problems import BudgetExhausted, BudgetTooSmall, EpochUnknown
from kith.sync.book import Book
from kith.sync.state import Page, State

MAX_EPOCHS = 3  # changes of parameters in one run; more of them is a fault of the server


@dataclass(frozen=True)
class Outcome:
    """How a run over a book ended.

    waiting: distinct numbers that were not asked about because the budget is used up. budget: as
    last announced, None where the server has none. retry_after: seconds, where the server said when
    what it refused would pass.
    """

    waiting: int = 0
    budget: Budget | None = None
    retry_after: int | None = None

    @property
    def complete(self) -> bool:
        """Whether every number was asked about."""
        return self.waiting == 0


def synchronise(
    client: Kith,
    book: Book,
    state: State,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Ask who of `book` is here and note it there; note in `state` what was paid for.

    on_progress: called with how many hashes have been asked about, and of how many. When the
    hashing parameters change in mid-run they are fetched anew and everything is asked anew. A
    budget that is used up ends the asking about new numbers, not the run. Raise KithError,
    StateBroken; everything answered until then is kept.
    """
    if not book.numbers:
        return Outcome()
    for epochs_left in reversed(range(MAX_EPOCHS)):
        parameters = client.discovery_parameters()
        state.enter(parameters.epoch)
        book.hash_numbers(parameters.salt)
        try:
            return _LookupRun(client, book, state, parameters, on_progress).to_its_end()
        except EpochUnknown:
            if not epochs_left:
                raise
    raise AssertionError("the last epoch returns or raises")


class _LookupRun:
    def __init__(
        self,
        client: Kith,
        book: Book,
        state: State,
        parameters: DiscoveryParameters,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self._client = client
        self._book = book
        self._state = state
        self._epoch = parameters.epoch
        self._page_size = max(1, parameters.max_hashes)
        self._budget = parameters.budget
        # Unknown until the server refuses: after a change of epochs it lets pass more than is left.
        self._left: int | None = None
        self._retry_after: int | None = None
        self._on_progress = on_progress
        self._done = self._total = 0

    def to_its_end(self) -> Outcome:
        numbers = [number for number in self._state.page_numbers() if self._recall(number)]
        self._total += self._book.left_to_ask()
        self._progress()
        for number in numbers:
            page = self._state.page(number)
            # What got no answer is repeated as it was, and first: else it would cost again.
            self._ask_about(page if page.asked else self._filled(page))
        while self._room(0) and (digests := self._book.next_to_ask(self._room(0))):
            self._book.mark_asked(digests)
            self._ask_about(self._state.begin_page(digests))
        return Outcome(self._book.left_to_ask(), self._budget, self._retry_after)

    def _recall(self, number: int) -> bool:
        """Take what a page holds out of the question; return whether to ask about it."""
        page = self._state.page(number)
        if page.size > self._page_size:  # of a time when the server took larger ones
            self._state.forget(page)
            return False
        present = self._book.mark_asked([*page.known, *page.asked])
        self._total += page.size if present else 0
        return present > 0

    def _room(self, taken: int) -> int:
        room = self._page_size - taken
        return room if self._left is None else min(room, self._left)

    def _filled(self, page: Page) -> Page:
        digests = self._book.next_to_ask(self._room(len(page.known)))
        if not digests:
            return page
        self._book.mark_asked(digests)
        return self._state.ask(page, digests)

    def _ask_about(self, page: Page) -> None:
        asking: Page | None = page
        while asking is not None:
            try:
                self._send(asking)
            except (BudgetExhausted, BudgetTooSmall) as refusal:
                asking = self._reduced(asking, refusal)
            else:
                return

    def _send(self, page: Page) -> None:
        digest_of = {base64url(digest): digest for digest in (*page.known, *page.asked)}
        hashes = list(digest_of)
        proven = 0 if page.token is None else len(page.known)
        found = self._client.look_up(
            self._epoch, hashes[proven:], known=hashes[:proven], sync_token=page.token
        )
        self._state.answered(page, found.sync_token)
        self._book.note(
            {
                digest_of[text]: account_id
                for text, account_id in found.matches.items()
                if text in digest_of
            }
        )
        if found.budget is not None:
            self._budget = found.budget
            self._left = None if self._left is None else found.budget.left
        self._done += page.size
        self._progress()

    def _reduced(self, page: Page, refusal: KithProblem) -> Page | None:
        """Return what to ask instead of a page that was refused, of which nothing was paid for."""
        self._retry_after = refusal.retry_after
        self._book.mark_unasked(page.asked)
        proven = page.asked and page.token and (refusal.needed or 0) <= len(page.asked)
        refused = len(page.asked) if proven else page.size
        # What of it would have been free after a change of epochs passes beside what is left.
        free = refused - (refused if refusal.needed is None else refusal.needed)
        # Less than was just refused, whatever the server says, so that this comes to an end.
        self._left = min(max(0, free) + (refusal.left or 0), refused - 1)
        if proven:
            return self._filled(self._state.ask(page, ()))
        # Its token proves nothing any more, or there never was one.
        self._book.mark_unasked(page.known)
        self._state.forget(page)
        return None

    def _progress(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._done, self._total)
