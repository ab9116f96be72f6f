"""Triggers, notes on objects, file sets, transactions of users, and what collection and rebuilding need."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds tables and columns; of a record that exists it notes that nothing of it is in the store yet."""
    op.add_column("branch_provenance", sa.Column("never", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("commit", sa.Column("stored_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("commit", sa.Column("forgotten", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("commit", sa.Column("recorded", sa.Boolean(), nullable=False, server_default=sa.false()))
    unrecorded = sa.column("recorded", sa.Boolean()) == sa.false()
    op.create_index("ix_commit_unrecorded", "commit", ["id"], sqlite_where=unrecorded, postgresql_where=unrecorded)
    for table in ("project", "repo", "branch", "commit"):
        op.add_column(table, sa.Column("metadata", sa.JSON(), nullable=False, server_default="{}"))
    op.create_table(
        "branch_trigger",
        sa.Column("branch_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("all_conditions", sa.Boolean(), nullable=False),
        sa.Column("size", sa.Text(), nullable=False),
        sa.Column("commits", sa.Integer(), nullable=False),
        sa.Column("rate_limit_spec", sa.Text(), nullable=False),
        sa.Column("cron_spec", sa.Text(), nullable=False),
        sa.Column("ticked", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["branch_id"], ["branch.id"], name=op.f("fk_branch_trigger_branch_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["source_id"], ["branch.id"], name=op.f("fk_branch_trigger_source_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("branch_id", name=op.f("pk_branch_trigger")),
    )
    op.create_index(op.f("ix_branch_trigger_source_id"), "branch_trigger", ["source_id"])
    op.create_table(
        "removed_commit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("repo_id", sa.Integer(), nullable=False),
        sa.Column("set_id", sa.Text(), nullable=False),
        sa.Column("removed", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removed_commit")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "released_tree",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("tree", sa.LargeBinary(), nullable=False),
        sa.Column("released", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_released_tree")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_released_tree_released"), "released_tree", ["released"])
    op.create_table(
        "collection",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("horizon", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collection")),
    )
    op.create_table(
        "file_set",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tree", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file_set")),
    )
    op.create_table(
        "file_set_layer",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("file_set_id", sa.Text(), nullable=False),
        sa.Column("layer", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["file_set_id"], ["file_set.id"], name=op.f("fk_file_set_layer_file_set_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file_set_layer")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_file_set_layer_file_set_id"), "file_set_layer", ["file_set_id"])
    op.create_table(
        "open_transaction",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_open_transaction")),
    )
    op.create_table(
        "transaction_request",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("transaction_id", sa.Text(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["transaction_id"], ["open_transaction.id"], name=op.f("fk_transaction_request_transaction_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transaction_request")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_transaction_request_transaction_id"), "transaction_request", ["transaction_id"])
    op.create_table(
        "cluster_metadata",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_cluster_metadata")),
    )
    record_state = op.create_table(
        "record_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("store_id", sa.Text(), nullable=True),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("saved", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_record_state")),
    )
    op.bulk_insert(record_state, [{"id": 1, "store_id": None, "changed": 1, "saved": 0}])
