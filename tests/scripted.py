"""Providers for tests that do as they are told."""

from collections.abc import Callable

from sms.provider import BOTH, Channel, SmsMessage


class Scripted:
    """A provider that takes messages, or fails as it is told, once for each fault given."""

    def __init__(self, name: str = "scripted", channels: frozenset[Channel] = BOTH) -> None:
        self.name = name
        self.channels = channels
        #: None stands for a message that is taken.
        self.faults: list[BaseException | None] = []
        self.taken: list[SmsMessage] = []
        self.calls = 0
        #: Called with each message before it is answered.
        self.before_answer: Callable[[SmsMessage], None] = lambda message: None

    def send(self, message: SmsMessage) -> str:
        """Take it, or fail."""
        self.calls += 1
        self.before_answer(message)
        fault = self.faults.pop(0) if self.faults else None
        if fault:
            raise fault
        self.taken.append(message)
        return f"id-{self.calls}"
