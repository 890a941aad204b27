"""bounds by bytes, payloads of groups, requests, contacts, keys of devices."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    with op.batch_alter_table("mailboxes") as batch_op:
        batch_op.add_column(
            sa.Column("waiting_bytes", sa.BigInteger(), nullable=False, server_default="0")
        )
    with op.batch_alter_table("envelopes") as batch_op:
        batch_op.add_column(sa.Column("size", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(
            sa.Column("is_request", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.add_column(sa.Column("group_id", sa.Uuid(), nullable=True))
        batch_op.add_column(sa.Column("group_version", sa.Integer(), nullable=True))
        batch_op.alter_column("content", existing_type=sa.LargeBinary(), nullable=True)
    op.execute("UPDATE envelopes SET size = length(content)")
    op.execute(
        "UPDATE mailboxes SET waiting_bytes = coalesce((SELECT sum(envelopes.size) FROM envelopes"
        " WHERE envelopes.device_id = mailboxes.device_id), 0)"
    )
    with op.batch_alter_table("mailboxes") as batch_op:
        batch_op.alter_column("waiting_bytes", server_default=None)
    with op.batch_alter_table("envelopes") as batch_op:
        batch_op.alter_column("size", server_default=None)
        batch_op.alter_column("is_request", server_default=None)
    op.create_table(
        "payloads",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_payloads")),
        info={"shard_by": "message_id"},
        sqlite_with_rowid=False,
    )
    op.create_table(
        "contacts",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("peer_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "peer_id", name=op.f("pk_contacts")),
        info={"shard_by": "account_id"},
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_contacts_peer_id"), "contacts", ["peer_id"])
    op.create_table(
        "device_keys",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("registration_id", sa.Integer(), nullable=False),
        sa.Column("identity_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("signed_prekey_id", sa.Integer(), nullable=False),
        sa.Column("signed_prekey", sa.LargeBinary(length=32), nullable=False),
        sa.Column("signed_prekey_signature", sa.LargeBinary(length=64), nullable=False),
        sa.Column("last_resort_id", sa.Integer(), nullable=True),
        sa.Column("last_resort", sa.LargeBinary(length=1568), nullable=True),
        sa.Column("last_resort_signature", sa.LargeBinary(length=64), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "device_id", name=op.f("pk_device_keys")),
        info={"shard_by": "account_id"},
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Take it back; what leads to a payload cannot stay."""
    op.drop_table("device_keys")
    op.drop_table("contacts")
    op.drop_table("payloads")
    op.execute("DELETE FROM envelopes WHERE content IS NULL")
    with op.batch_alter_table("envelopes") as batch_op:
        batch_op.alter_column("content", existing_type=sa.LargeBinary(), nullable=False)
        for column in ("group_version", "group_id", "is_request", "size"):
            batch_op.drop_column(column)
    with op.batch_alter_table("mailboxes") as batch_op:
        batch_op.drop_column("waiting_bytes")
