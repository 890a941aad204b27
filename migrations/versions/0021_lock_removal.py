"""when a registration lock ends whose removal was asked for without its PIN."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    with op.batch_alter_table("accounts", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("registration_lock_ends_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Take it back; a lock that was to be removed, or was, guards its number again."""
    with op.batch_alter_table("accounts", recreate="never") as batch_op:
        batch_op.drop_column("registration_lock_ends_at")
