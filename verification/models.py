"""The table of verifications."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Verification(Base):
    """A verification of a number. Its code is not stored but derived (docs/adr/0001)."""

    __tablename__ = "verifications"
    __table_args__ = (
        Index(None, "expires_at"),
        {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False},
    )

    #: Keyed digest of the number; with `nonce` it is the id.
    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    nonce: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    e164: Mapped[str] = mapped_column(String(16))
    #: Country of the number: ISO 3166, or "001".
    country: Mapped[str] = mapped_column(String(3))
    #: Keyed digest of the requester's network.
    requester: Mapped[bytes] = mapped_column(LargeBinary(16))
    #: Keyed digest of the subnet around it; NULL for a service.
    subnet: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    #: pending, verified, failed or canceled; pending past `expires_at` is expired.
    status: Mapped[str] = mapped_column(String(16))
    channel: Mapped[str] = mapped_column(String(8))
    code_length: Mapped[int] = mapped_column()
    #: The server secret that the code is derived from.
    key_id: Mapped[str] = mapped_column(String(8))
    checks_used: Mapped[int] = mapped_column(default=0)
    sms_count: Mapped[int] = mapped_column(default=0)
    call_count: Mapped[int] = mapped_column(default=0)
    last_sms_at: Mapped[datetime | None] = mapped_column()
    last_call_at: Mapped[datetime | None] = mapped_column()
    locale: Mapped[str | None] = mapped_column(String(35))
    app_hash: Mapped[str | None] = mapped_column(String(11))
    web_origin: Mapped[str | None] = mapped_column(String(100))
    #: Its service behind a protocol adapter, which alone finds the row; NULL natively.
    service: Mapped[str | None] = mapped_column(String(64))
    #: `VerificationProfile.sender`.
    started_by: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    #: The service's own text, with `{{code}}` where the code goes.
    template: Mapped[str | None] = mapped_column(String(160))
    created_at: Mapped[datetime] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column()
    #: When its proof was used, and for what.
    used_at: Mapped[datetime | None] = mapped_column()
    account_id: Mapped[UUID | None] = mapped_column()
    device_id: Mapped[UUID | None] = mapped_column()
    reregistered: Mapped[bool] = mapped_column(default=False)
