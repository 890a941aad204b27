"""Registration: a proof is used up, once, for a device and its token or for a new number.

The device is a new one, or one of the account that returns: then it keeps its id and its mailbox.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from core import idempotency
from core.database import Database
from core.metrics import Metrics
from tokens.accounts import AccountService
from tokens.devices import Caller, DeviceService, RegisteredDevice
from tokens.models import Account
from tokens.problems import RegistrationLocked
from tokens.registration_lock import RegistrationLockService
from tokens.revocation import RevocationService
from tokens.token_issuer import TokenIssuer
from verification.models import Verification
from verification.problems import DeviceNotRecoverable, VerificationUsed
from verification.proofs import ProofService
from verification.schemas import ChangePhoneNumber, RegisterDevice
from verification.store import VerificationKey, load, save

#: Tells whether a device of an account signed a message: (connection, account_id, device_id, message,
#: signature).
SignedByDevice = Callable[[Connection, UUID, UUID, bytes, bytes], bool]
#: What a returning device signs begins with it; 1 and 2 are its prekeys.
RECOVERY_PREFIX = b"\x03"


@dataclass(frozen=True)
class Registered:
    """What a registration gave."""

    joined: RegisteredDevice
    e164: str
    reregistered: bool


class RegistrationService:
    """Turns proofs into devices and numbers."""

    def __init__(
        self,
        database: Database,
        accounts: AccountService,
        devices: DeviceService,
        revocations: RevocationService,
        proofs: ProofService,
        locks: RegistrationLockService,
        mint: TokenIssuer,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        metrics: Metrics,
        signed_by_device: SignedByDevice,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._devices = devices
        self._revocations = revocations
        self._signed_by_device = signed_by_device
        self._proofs = proofs
        self._locks = locks
        self._mint = mint
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics

    def register(self, body: RegisterDevice, idempotency_key: str | None) -> Registered:
        """Register a device for a verified number; the same idempotency key gets the same token."""
        key = VerificationKey.parse(body.verification_id)
        left_out = {"registration_lock_pin"}
        if body.recover_device is None:
            # As it was described before there was this field, so that a repeat over an upgrade is known.
            left_out.add("recover_device")
        if not idempotency.is_secret(idempotency_key):
            # Somebody else may choose the same one, and a token is told again to nobody else.
            idempotency_key = None
        described = body.model_dump_json(exclude=left_out).encode()
        secrets = self._mint.secrets(b"register" + key.whole + described, idempotency_key)
        try:
            done = self._register(key, body, secrets, idempotency_key, None)
        except RegistrationLocked:
            # Only now is the PIN hashed: outside of the transaction, and for locked numbers alone.
            opened = self._locks.open(self._number(key), body.registration_lock_pin)
            done = self._register(key, body, secrets, idempotency_key, opened)
        self._metrics.verifications.labels("registered").inc()
        return done

    def _number(self, key: VerificationKey) -> str:
        with self._database.read() as connection:
            return load(connection, key).e164

    def _register(
        self,
        key: VerificationKey,
        body: RegisterDevice,
        secrets: list[bytes],
        idempotency_key: str | None,
        opened_lock: str | None,
    ) -> Registered:
        # A device that returns drains what waits for it, and without that nobody could.
        with self._database.write(adds=body.recover_device is None) as connection:
            row = load(connection, key, lock=True)
            if row.used_at is not None:
                return self._register_again(connection, row, secrets, idempotency_key)
            self._proofs.admit(connection, row, opened_lock=opened_lock)
            returning = self._returning(connection, row.e164, body)
            claim = self._accounts.claim(connection, row.e164, opened_lock, returning)
            if returning is None:
                new = UUID(bytes=self._entropy(16), version=4)
                joined = self._devices.add(
                    connection, claim.account_id, new, body.device, secrets[0]
                )
            elif claim.reregistered:
                joined = self._revocations.restore(
                    connection, claim.account_id, returning, body.device, secrets[0]
                )
            else:
                raise DeviceNotRecoverable("Its account was idle for so long that it is gone.")
            self._use_up(connection, row, claim.account_id, joined.device_id, claim.reregistered)
        return Registered(joined, row.e164, claim.reregistered)

    def _returning(self, connection: Connection, e164: str, body: RegisterDevice) -> UUID | None:
        """Give the device that returns, if one does; raises DeviceNotRecoverable, and the proof stays."""
        recover = body.recover_device
        if recover is None:
            return None
        account_id = self._accounts.hold(connection, e164)
        message = RECOVERY_PREFIX + body.verification_id.encode()
        if account_id is None or not self._signed_by_device(
            connection, account_id, recover.device_id, message, recover.signature
        ):
            raise DeviceNotRecoverable(
                "It is no device of this account any more, or the signature is not its identity key's."
                " Register without recover_device: what waits for it is deleted then."
            )
        self._revocations.note_return(connection, account_id, recover.device_id)
        return recover.device_id

    def _register_again(
        self,
        connection: Connection,
        row: Verification,
        secrets: list[bytes],
        idempotency_key: str | None,
    ) -> Registered:
        """Answer a registration repeated with its idempotency key as it was answered first."""
        if idempotency_key is not None and row.account_id and row.device_id:
            joined = self._devices.joined_again(connection, row.account_id, row.device_id, secrets)
            if joined is not None:
                return Registered(joined, row.e164, row.reregistered)
        raise VerificationUsed(
            "It is good for one registration; start a new verification. A repeat is answered again only"
            f" under an Idempotency-Key of at least {idempotency.SECRET_KEY_LENGTH} characters."
        )

    def change_number(self, caller: Caller, body: ChangePhoneNumber) -> Account:
        """Move the caller's account to a verified number."""
        key = VerificationKey.parse(body.verification_id)
        try:
            return self._change_number(key, caller, None)
        except RegistrationLocked:
            opened = self._locks.open(self._number(key), body.registration_lock_pin)
            return self._change_number(key, caller, opened)

    def _change_number(
        self, key: VerificationKey, caller: Caller, opened_lock: str | None
    ) -> Account:
        with self._database.write() as connection:
            row = load(connection, key, lock=True)
            if row.used_at is not None:
                # A change repeated after a lost answer finds it done.
                if row.account_id == caller.account_id and row.device_id == caller.device_id:
                    return self._accounts.read(connection, caller)
                raise VerificationUsed("It is good for one change; start a new verification.")
            self._proofs.admit(connection, row, opened_lock=opened_lock, owner=caller.account_id)
            account = self._accounts.change_number(connection, caller, row.e164)
            self._use_up(connection, row, caller.account_id, caller.device_id, False)
        return account

    def _use_up(
        self,
        connection: Connection,
        row: Verification,
        account_id: UUID,
        device_id: UUID,
        reregistered: bool,
    ) -> None:
        save(
            connection,
            row,
            used_at=self._clock(),
            account_id=account_id,
            device_id=device_id,
            reregistered=reregistered,
        )
