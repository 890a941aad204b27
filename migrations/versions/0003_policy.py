"""Policy: decisions, traffic, countries of networks, spent challenges; sums of money fit the limits."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

#: What a table is made with where SQLite has to make it anew to change it.
WHOLE = {"sqlite_with_rowid": False}


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "decisions",
        sa.Column("number_digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("verification", sa.LargeBinary(length=16), nullable=False),
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("network", sa.LargeBinary(length=16), nullable=False),
        sa.Column("wider", sa.LargeBinary(length=16), nullable=True),
        sa.Column("country", sa.String(length=3), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("number_type", sa.String(length=24), nullable=False),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("resend", sa.Boolean(), nullable=False),
        sa.Column("price_micros", sa.BigInteger(), nullable=False),
        sa.Column("solved", sa.Boolean(), nullable=False),
        sa.Column("verdict", sa.String(length=10), nullable=False),
        sa.Column("rule", sa.String(length=40), nullable=True),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("verified_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("number_digest", "verification", "id", name=op.f("pk_decisions")),
        info={"shard_by": "number_digest"},
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_decisions_created_at"), "decisions", ["created_at"])
    op.create_table(
        "traffic",
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("span", sa.String(length=1), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("verified", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "span", "start", name=op.f("pk_traffic")),
        info={"shard_by": "scope"},
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_traffic_span_start"), "traffic", ["span", "start"])
    op.create_table(
        "network_countries",
        sa.Column("network", sa.LargeBinary(length=16), nullable=False),
        sa.Column("country", sa.String(length=3), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("network", "country", name=op.f("pk_network_countries")),
        info={"shard_by": "network"},
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_network_countries_until"), "network_countries", ["until"])
    op.create_table(
        "spent_challenges",
        sa.Column("number_digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("nonce", sa.LargeBinary(length=16), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number_digest", "nonce", name=op.f("pk_spent_challenges")),
        info={"shard_by": "number_digest"},
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_spent_challenges_expires_at"), "spent_challenges", ["expires_at"])
    with op.batch_alter_table("verifications") as batch:
        batch.add_column(sa.Column("wider", sa.LargeBinary(length=16), nullable=True))
    with op.batch_alter_table("limits", table_kwargs=WHOLE) as batch:
        batch.alter_column("used", existing_type=sa.Integer(), type_=sa.BigInteger())


def downgrade() -> None:
    """Undo this migration."""
    op.execute("DELETE FROM limits WHERE used > 2147483647")
    with op.batch_alter_table("limits", table_kwargs=WHOLE) as batch:
        batch.alter_column("used", existing_type=sa.BigInteger(), type_=sa.Integer())
    with op.batch_alter_table("verifications", table_kwargs=WHOLE) as batch:
        batch.drop_column("wider")
    for name in ("spent_challenges", "network_countries", "traffic", "decisions"):
        op.drop_table(name)
