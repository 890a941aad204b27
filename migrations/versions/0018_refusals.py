"""refusals by the minute, known numbers, and which texts were paid from what is kept for those."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "refusals",
        sa.Column("subject", sa.LargeBinary(length=16), nullable=False),
        sa.Column("rule", sa.String(length=40), nullable=False),
        sa.Column("minute", sa.Integer(), nullable=False),
        sa.Column("country", sa.String(length=3), nullable=False),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("resend", sa.Boolean(), nullable=False),
        sa.Column("verdict", sa.String(length=10), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("solved", sa.BigInteger(), nullable=False),
        sa.Column("number_digest", sa.LargeBinary(length=16), nullable=True),
        sa.Column("network", sa.LargeBinary(length=16), nullable=True),
        sa.Column("wider", sa.LargeBinary(length=16), nullable=True),
        sa.Column("prefix", sa.String(length=16), nullable=True),
        sa.Column("service", sa.Boolean(), nullable=False),
        sa.Column("number_type", sa.String(length=24), nullable=False),
        sa.Column("price_micros", sa.BigInteger(), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "rule", "minute", name=op.f("pk_refusals")),
        info={"shard_by": "subject"},
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_refusals_minute"), "refusals", ["minute"])
    op.create_table(
        "proven_numbers",
        sa.Column("number_digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("proven_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number_digest", name=op.f("pk_proven_numbers")),
        info={"shard_by": "number_digest"},
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_proven_numbers_proven_at"), "proven_numbers", ["proven_at"])
    op.add_column(
        "decisions", sa.Column("reserve", sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def downgrade() -> None:
    """Take it back."""
    with op.batch_alter_table("decisions", table_kwargs={"sqlite_with_rowid": False}) as batch:
        batch.drop_column("reserve")
    op.drop_table("proven_numbers")
    op.drop_table("refusals")
