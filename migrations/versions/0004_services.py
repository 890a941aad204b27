"""tokens of services, and verifications that are theirs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "service_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.String(length=200), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_tokens")),
        info={"shard_by": "id"},
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("service_tokens", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_service_tokens_expires_at"), ["expires_at"], unique=False
        )
    with op.batch_alter_table("verifications", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("service", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("template", sa.String(length=160), nullable=True))


def downgrade() -> None:
    """Take this migration back."""
    with op.batch_alter_table("verifications", recreate="never") as batch_op:
        batch_op.drop_column("template")
        batch_op.drop_column("service")
    op.drop_table("service_tokens")
