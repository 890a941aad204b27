"""Own why this device does not send a message; nothing has left then."""

from collections.abc import Sequence


class NotSent(Exception):
    """Report a message that this device refuses to send."""


class KeysChanged(NotSent):
    """Report an account with identity keys that were not there before and are not accepted."""

    def __init__(self, account_id: str, device_ids: Sequence[str]) -> None:
        """Take the account and the devices whose keys are new."""
        super().__init__("There are devices whose keys are not accepted.")
        self.account_id = account_id
        self.device_ids = device_ids


class KeysUnfit(NotSent):
    """Report a device whose published keys are not good: unsigned, or weak."""


class NobodyReads(NotSent):
    """Report an account without a device that messages could be encrypted for."""
