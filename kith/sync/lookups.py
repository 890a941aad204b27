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

MAX_EPOCHS = 3  # in one run; a server that changes more often is broken


@dataclass(frozen=True)
class Outcome:
    """The result of a run over a book.

    waiting: distinct numbers that were not looked up because the budget is used up. budget: the
    last one that the server announced, None without budgets. retry_after: seconds, if the server
    gave any.
    """

    waiting: int = 0
    budget: Budget | None = None
    retry_after: int | None = None

    @property
    def complete(self) -> bool:
        """Whether every number was looked up."""
        return self.waiting == 0


def synchronise(
    client: Kith, book: Book, state: State, *, on_progress: Callable[[int, int], None] | None = None
) -> Outcome:
    """Look up the numbers of `book`, record the matches in it, and in `state` what was paid for.

    on_progress: called with the number of hashes looked up so far, and of all. When the hashing
    parameters change during the run, they are fetched again and everything is looked up again. A
    used-up budget ends the lookup of new numbers, not the run. Raise KithError or StateBroken;
    every answer until then is kept.
    """
    if not book.numbers:
        return Outcome()
    for epochs_left in reversed(range(MAX_EPOCHS)):
        parameters = client.discovery_parameters()
        state.start_epoch(parameters.epoch)
        book.hash_numbers(parameters.salt)
        try:
            return _LookupRun(client, book, state, parameters, on_progress).run()
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
        # Unknown until a refusal: after an epoch change the server allows more than is left.
        self._left: int | None = None
        self._retry_after: int | None = None
        self._on_progress = on_progress
        self._done = self._total = 0

    def run(self) -> Outcome:
        numbers = [number for number in self._state.page_numbers() if self._resume_page(number)]
        self._total += self._book.count_unasked()
        self._progress()
        for number in numbers:
            page = self._state.page(number)
            # A request without an answer is repeated first and unchanged, or it would cost again.
            self._look_up(page if page.asked else self._fill_page(page))
        while self._free_slots(0) and (digests := self._book.next_unasked(self._free_slots(0))):
            self._book.mark_asked(digests)
            self._look_up(self._state.create_page(digests))
        return Outcome(self._book.count_unasked(), self._budget, self._retry_after)

    def _resume_page(self, number: int) -> bool:
        """Mark the digests of a page as asked; return whether to look the page up."""
        page = self._state.page(number)
        if page.size > self._page_size:  # the server's limit was larger before
            self._state.delete_page(page)
            return False
        present = self._book.mark_asked([*page.known, *page.asked])
        self._total += page.size if present else 0
        return present > 0

    def _free_slots(self, taken: int) -> int:
        room = self._page_size - taken
        return room if self._left is None else min(room, self._left)

    def _fill_page(self, page: Page) -> Page:
        digests = self._book.next_unasked(self._free_slots(len(page.known)))
        if not digests:
            return page
        self._book.mark_asked(digests)
        return self._state.set_pending(page, digests)

    def _look_up(self, page: Page) -> None:
        asking: Page | None = page
        while asking is not None:
            try:
                self._send(asking)
            except (BudgetExhausted, BudgetTooSmall) as refusal:
                asking = self._reduced_page(asking, refusal)
            else:
                return

    def _send(self, page: Page) -> None:
        digest_of = {base64url(digest): digest for digest in (*page.known, *page.asked)}
        hashes = list(digest_of)
        proven = 0 if page.token is None else len(page.known)
        found = self._client.look_up(
            self._epoch, hashes[proven:], known=hashes[:proven], sync_token=page.token
        )
        self._state.record_answer(page, found.sync_token)
        self._book.add_accounts(
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

    def _reduced_page(self, page: Page, refusal: KithProblem) -> Page | None:
        """Return the page to send instead of one that was refused, for which nothing was charged."""
        self._retry_after = refusal.retry_after
        self._book.unmark_asked(page.asked)
        proven = page.asked and page.token and (refusal.needed or 0) <= len(page.asked)
        refused = len(page.asked) if proven else page.size
        # Numbers that are free after an epoch change pass in addition to what is left.
        free = refused - (refused if refusal.needed is None else refusal.needed)
        # Always less than was refused, whatever the server says, so that this ends.
        self._left = min(max(0, free) + (refusal.left or 0), refused - 1)
        if proven:
            return self._fill_page(self._state.set_pending(page, ()))
        # The token is no longer valid, or there was none.
        self._book.unmark_asked(page.known)
        self._state.delete_page(page)
        return None

    def _progress(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._done, self._total)
