"""Budgets of lookups for services."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    with op.batch_alter_table("service_tokens", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("discovery_burst", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("discovery_per_day", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Take this migration back."""
    with op.batch_alter_table("service_tokens", recreate="never") as batch_op:
        batch_op.drop_column("discovery_per_day")
        batch_op.drop_column("discovery_burst")
