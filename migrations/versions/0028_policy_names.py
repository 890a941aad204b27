"""Columns of sends, decisions and refusals get the names of what they hold."""

from collections.abc import Sequence

from alembic import op

revision: str = "0028"
down_revision: str | None = "0027"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COLUMNS = (
    ("sends", "verification", "verification_nonce"),
    ("decisions", "verification", "verification_nonce"),
    ("decisions", "wider", "subnet"),
    ("decisions", "findings", "rule_results"),
    ("refusals", "wider", "subnet"),
    ("refusals", "findings", "rule_results"),
)


def upgrade() -> None:
    """Apply this migration."""
    for table, old, new in COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")


def downgrade() -> None:
    """Take it back."""
    for table, old, new in COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")
