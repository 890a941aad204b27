"""devices whose token was revoked keep their mail, and tokens that were replaced unused are known again."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    with op.batch_alter_table("devices", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("token_revoked_at", UtcDateTime(), nullable=True))
    op.create_index(
        op.f("ix_devices_token_revoked_at"),
        "devices",
        ["token_revoked_at"],
        sqlite_where=sa.text("token_revoked_at IS NOT NULL"),
        postgresql_where=sa.text("token_revoked_at IS NOT NULL"),
    )
    with op.batch_alter_table("retired_tokens", recreate="never") as batch_op:
        batch_op.add_column(
            sa.Column("never_used", sa.Boolean(), nullable=False, server_default=sa.false())
        )


def downgrade() -> None:
    """Take this migration back."""
    with op.batch_alter_table("retired_tokens", recreate="never") as batch_op:
        batch_op.drop_column("never_used")
    op.drop_index(op.f("ix_devices_token_revoked_at"), "devices")
    with op.batch_alter_table("devices", recreate="never") as batch_op:
        batch_op.drop_column("token_revoked_at")
