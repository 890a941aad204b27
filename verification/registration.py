"""Registrations and changes of number: each uses up a proof, once.

A registration adds a device, or recovers one of the account's, which keeps its id and its mailbox.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from core import idempotency
from core.database import Database
from tokens.accounts import AccountService, own_account
from tokens.devices import Caller, DeviceService, RegisteredDevice
from tokens.models import Account
from tokens.problems import RegistrationLocked
from tokens.registration_lock import RegistrationLockService
from tokens.revocation import RevocationService
from tokens.token_issuer import TokenIssuer
from verification.metrics import VerificationMetrics
from verification.models import Verification
from verification.problems import DeviceNotRecoverable, VerificationUsed
from verification.proofs import admit
from verification.schemas import ChangePhoneNumber, RegisterDevice
from verification.store import VerificationKey, load, save

#: Whether a device of an account signed a message: (connection, account_id, device_id, message, signature).
SignedByDevice = Callable[[Connection, UUID, UUID, bytes, bytes], bool]
#: First byte of what a device signs to be recovered; 1 and 2 are for its prekeys.
RECOVERY_PREFIX = b"\x03"


@dataclass(frozen=True)
class Registration:
    """A registered device, its number, and whether the number had an account before."""

    device: RegisteredDevice
    e164: str
    reregistered: bool


@dataclass(frozen=True)
class RegistrationService:
    """Registers devices and changes numbers."""

    database: Database
    accounts: AccountService
    devices: DeviceService
    revocations: RevocationService
    locks: RegistrationLockService
    issuer: TokenIssuer
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    metrics: VerificationMetrics
    signed_by_device: SignedByDevice

    def register(self, body: RegisterDevice, idempotency_key: str | None) -> Registration:
        """Register a device with a verified number; the same secret idempotency key gets the same token.

        Raises VerificationNotFound, VerificationUsed, DeviceNotRecoverable, and what `proofs.admit` and the
        registration lock raise.
        """
        key = VerificationKey.parse(body.verification_id)
        excluded = {"registration_lock_pin"}
        if body.recover_device is None:
            # Before this field existed it was not in the fingerprint; a repeat over an upgrade is recognized.
            excluded.add("recover_device")
        if not idempotency.is_secret(idempotency_key):
            # Others may choose the same key, and must not get the token.
            idempotency_key = None
        fingerprint = body.model_dump_json(exclude=excluded).encode()
        secrets = self.issuer.secrets(b"register" + key.raw + fingerprint, idempotency_key)
        try:
            registration = self._register(key, body, secrets, idempotency_key, None)
        except RegistrationLocked:
            # The PIN is hashed only now: outside of the transaction, and for locked numbers alone.
            opened = self.locks.unlock(self._number(key), body.registration_lock_pin)
            registration = self._register(key, body, secrets, idempotency_key, opened)
        self.metrics.verifications.labels("registered").inc()
        return registration

    def _number(self, key: VerificationKey) -> str:
        with self.database.read() as connection:
            return load(connection, key).e164

    def _register(
        self,
        key: VerificationKey,
        body: RegisterDevice,
        secrets: list[bytes],
        idempotency_key: str | None,
        opened_lock: str | None,
    ) -> Registration:
        # A recovered device empties its mailbox, so it may return while the disk is full.
        with self.database.write(adds=body.recover_device is None) as connection:
            row = load(connection, key, lock=True)
            if row.used_at is not None:
                return self._register_again(connection, row, secrets, idempotency_key)
            admit(connection, self.accounts, row, self.clock(), opened_lock=opened_lock)
            recovered = self._recovered(connection, row.e164, body)
            claim = self.accounts.register(connection, row.e164, opened_lock, recovered)
            if recovered is None:
                new = UUID(bytes=self.entropy(16), version=4)
                device = self.devices.add(
                    connection, claim.account_id, new, body.device, secrets[0]
                )
            elif claim.reregistered:
                device = self.revocations.restore(
                    connection, claim.account_id, recovered, body.device, secrets[0]
                )
            else:
                raise DeviceNotRecoverable("Its account was idle for too long and was deleted.")
            save(
                connection,
                row,
                used_at=self.clock(),
                account_id=claim.account_id,
                device_id=device.device_id,
                reregistered=claim.reregistered,
            )
        return Registration(device, row.e164, claim.reregistered)

    def _recovered(self, connection: Connection, e164: str, body: RegisterDevice) -> UUID | None:
        """Return the device to recover, if the request names one; raises DeviceNotRecoverable."""
        recover = body.recover_device
        if recover is None:
            return None
        account_id = self.accounts.lock_by_number(connection, e164)
        message = RECOVERY_PREFIX + body.verification_id.encode()
        if account_id is None or not self.signed_by_device(
            connection, account_id, recover.device_id, message, recover.signature
        ):
            raise DeviceNotRecoverable(
                "The account has no such device any more, or the signature is not its identity key's."
                " Register without recover_device; its mailbox is deleted then."
            )
        self.revocations.announce_return(connection, account_id, recover.device_id)
        return recover.device_id

    def _register_again(
        self,
        connection: Connection,
        row: Verification,
        secrets: list[bytes],
        idempotency_key: str | None,
    ) -> Registration:
        """Return the first answer to a repeat with its idempotency key; else raise VerificationUsed."""
        if idempotency_key is not None and row.account_id and row.device_id:
            device = self.devices.reissue(connection, row.account_id, row.device_id, secrets)
            if device is not None:
                return Registration(device, row.e164, row.reregistered)
        raise VerificationUsed(
            "It can be used for one registration; start a new verification. A repeat gets the same answer"
            f" only with an Idempotency-Key of at least {idempotency.SECRET_KEY_LENGTH} characters."
        )

    def change_number(self, caller: Caller, body: ChangePhoneNumber) -> Account:
        """Move the caller's account to a verified number; raises what `register` does."""
        key = VerificationKey.parse(body.verification_id)
        try:
            return self._change_number(key, caller, None)
        except RegistrationLocked:
            opened = self.locks.unlock(self._number(key), body.registration_lock_pin)
            return self._change_number(key, caller, opened)

    def _change_number(
        self, key: VerificationKey, caller: Caller, opened_lock: str | None
    ) -> Account:
        with self.database.write() as connection:
            row = load(connection, key, lock=True)
            if row.used_at is not None:
                # The change was made, and its answer was lost.
                if row.account_id == caller.account_id and row.device_id == caller.device_id:
                    return own_account(connection, caller)
                raise VerificationUsed("It can be used for one change; start a new verification.")
            admit(
                connection,
                self.accounts,
                row,
                self.clock(),
                opened_lock=opened_lock,
                owner=caller.account_id,
            )
            account = self.accounts.change_number(connection, caller, row.e164)
            save(
                connection,
                row,
                used_at=self.clock(),
                account_id=caller.account_id,
                device_id=caller.device_id,
            )
        return account
