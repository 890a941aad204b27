"""routing: where and at what price, and what came of it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "routing_outcomes",
        sa.Column("country", sa.String(length=3), nullable=False),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("verified", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "country", "channel", "slot", "provider", name=op.f("pk_routing_outcomes")
        ),
        info={"shard_by": "country"},
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("routing_outcomes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_routing_outcomes_slot"), ["slot"], unique=False)

    # Of what was sent before, nobody noted where to.
    with op.batch_alter_table("sends", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("country", sa.String(length=3), server_default="001", nullable=False)
        )
        batch_op.add_column(
            sa.Column("prefix", sa.String(length=12), server_default="", nullable=False)
        )
        batch_op.add_column(
            sa.Column("first", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
        batch_op.add_column(
            sa.Column("price_micros", sa.BigInteger(), server_default="0", nullable=False)
        )
        batch_op.add_column(sa.Column("verified_at", UtcDateTime(), nullable=True))
    with op.batch_alter_table("verifications", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("country", sa.String(length=3), server_default="001", nullable=False)
        )


def downgrade() -> None:
    """Take it back."""
    with op.batch_alter_table("verifications", schema=None) as batch_op:
        batch_op.drop_column("country")
    with op.batch_alter_table("sends", schema=None) as batch_op:
        for name in ("verified_at", "price_micros", "first", "prefix", "country"):
            batch_op.drop_column(name)
    with op.batch_alter_table("routing_outcomes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_routing_outcomes_slot"))
    op.drop_table("routing_outcomes")
