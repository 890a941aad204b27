"""columns of the wake-up queue are called by their meaning."""

from collections.abc import Sequence

from alembic import op

revision: str = "0026"
down_revision: str | None = "0025"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

RENAMED = {"claimed": "is_claimed", "woken": "wakeups_unanswered"}


def upgrade() -> None:
    """Apply this migration."""
    for old, new in RENAMED.items():
        op.execute(f"ALTER TABLE push_subscriptions RENAME COLUMN {old} TO {new}")


def downgrade() -> None:
    """Take it back."""
    for old, new in RENAMED.items():
        op.execute(f"ALTER TABLE push_subscriptions RENAME COLUMN {new} TO {old}")
