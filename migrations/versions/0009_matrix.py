"""users, tokens, sessions and bindings of the Matrix door."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "matrix_users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("accepted", sa.Text(), nullable=False),
        sa.Column("bound_account", sa.Uuid(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_used_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_matrix_users")),
        info={"shard_by": "id"},
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_matrix_users_last_used_at"), "matrix_users", ["last_used_at"])
    op.create_table(
        "matrix_tokens",
        sa.Column("user", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_used_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("user", "token_hash", name=op.f("pk_matrix_tokens")),
        info={"shard_by": "user"},
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_matrix_tokens_last_used_at"), "matrix_tokens", ["last_used_at"])
    op.create_table(
        "matrix_sessions",
        sa.Column("number_digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("nonce", sa.LargeBinary(length=16), nullable=False),
        sa.Column("send_attempt", sa.BigInteger(), nullable=False),
        sa.Column("next_link", sa.String(length=2000), nullable=True),
        sa.Column("touched_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number_digest", "secret_hash", name=op.f("pk_matrix_sessions")),
        info={"shard_by": "number_digest"},
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_matrix_sessions_touched_at"), "matrix_sessions", ["touched_at"])
    op.create_table(
        "matrix_bindings",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("e164", sa.String(length=16), nullable=False),
        sa.Column("bound_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_matrix_bindings")),
        info={"shard_by": "account_id"},
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Take this migration back."""
    for table in ("matrix_bindings", "matrix_sessions", "matrix_tokens", "matrix_users"):
        op.drop_table(table)
