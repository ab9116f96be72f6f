"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes every table."""
    op.create_table(
        "lease",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
    op.create_table(
        "project",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("name", name=op.f("uq_project_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "pipeline",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("results", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_pipeline_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_pipeline_project_id_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_pipeline_project_id"), "pipeline", ["project_id"], unique=False)
    op.create_table(
        "repo",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_repo_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repo")),
        sa.UniqueConstraint("project_id", "name", "type", name=op.f("uq_repo_project_id_name_type")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_repo_project_id"), "repo", ["project_id"], unique=False)
    op.create_table(
        "branch",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("repo_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("head_id", sa.Integer(), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["repo_id"], ["repo.id"], name=op.f("fk_branch_repo_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_branch")),
        sa.UniqueConstraint("repo_id", "name", name=op.f("uq_branch_repo_id_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_branch_repo_id"), "branch", ["repo_id"], unique=False)
    op.create_table(
        "commit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("repo_id", sa.Integer(), nullable=False),
        sa.Column("set_id", sa.Text(), nullable=False),
        sa.Column("branch_name", sa.Text(), nullable=True),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("tree", sa.LargeBinary(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["parent_id"], ["commit.id"], name=op.f("fk_commit_parent_id")),
        sa.ForeignKeyConstraint(["repo_id"], ["repo.id"], name=op.f("fk_commit_repo_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commit")),
        sa.UniqueConstraint("repo_id", "set_id", name=op.f("uq_commit_repo_id_set_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_commit_parent_id"), "commit", ["parent_id"], unique=False)
    op.create_index(op.f("ix_commit_repo_id"), "commit", ["repo_id"], unique=False)
    op.create_index(op.f("ix_commit_set_id"), "commit", ["set_id"], unique=False)
    op.create_table(
        "pipeline_version",
        sa.Column("pipeline_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("salt", sa.Text(), nullable=False),
        sa.Column("set_id", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["pipeline_id"], ["pipeline.id"], name=op.f("fk_pipeline_version_pipeline_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("pipeline_id", "version", name=op.f("pk_pipeline_version")),
    )
    op.create_table(
        "branch_provenance",
        sa.Column("branch_id", sa.Integer(), nullable=False),
        sa.Column("upstream_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["branch_id"], ["branch.id"], name=op.f("fk_branch_provenance_branch_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["upstream_id"], ["branch.id"], name=op.f("fk_branch_provenance_upstream_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("branch_id", "upstream_id", name=op.f("pk_branch_provenance")),
    )
    op.create_index(op.f("ix_branch_provenance_upstream_id"), "branch_provenance", ["upstream_id"], unique=False)
    op.create_table(
        "commit_layer",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("commit_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["commit_id"], ["commit.id"], name=op.f("fk_commit_layer_commit_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commit_layer")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_commit_layer_commit_id"), "commit_layer", ["commit_id"], unique=False)
    op.create_table(
        "commit_provenance",
        sa.Column("commit_id", sa.Integer(), nullable=False),
        sa.Column("upstream_id", sa.Integer(), nullable=False),
        sa.Column("branch_name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["commit_id"], ["commit.id"], name=op.f("fk_commit_provenance_commit_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["upstream_id"], ["commit.id"], name=op.f("fk_commit_provenance_upstream_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("commit_id", "upstream_id", "branch_name", name=op.f("pk_commit_provenance")),
    )
    op.create_index(op.f("ix_commit_provenance_upstream_id"), "commit_provenance", ["upstream_id"], unique=False)
    op.create_table(
        "job",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("pipeline_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("set_id", sa.Text(), nullable=False),
        sa.Column("output_commit_id", sa.Integer(), nullable=False),
        sa.Column("meta_commit_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.Column("data_total", sa.BigInteger(), nullable=False),
        sa.Column("data_processed", sa.BigInteger(), nullable=False),
        sa.Column("data_skipped", sa.BigInteger(), nullable=False),
        sa.Column("data_failed", sa.BigInteger(), nullable=False),
        sa.Column("data_recovered", sa.BigInteger(), nullable=False),
        sa.Column("restarts", sa.BigInteger(), nullable=False),
        sa.Column("download_bytes", sa.BigInteger(), nullable=False),
        sa.Column("upload_bytes", sa.BigInteger(), nullable=False),
        sa.Column("download_seconds", sa.Float(), nullable=False),
        sa.Column("process_seconds", sa.Float(), nullable=False),
        sa.Column("upload_seconds", sa.Float(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["meta_commit_id"], ["commit.id"], name=op.f("fk_job_meta_commit_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["output_commit_id"], ["commit.id"], name=op.f("fk_job_output_commit_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["pipeline_id"], ["pipeline.id"], name=op.f("fk_job_pipeline_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("pipeline_id", "set_id", name=op.f("uq_job_pipeline_id_set_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_job_meta_commit_id"), "job", ["meta_commit_id"], unique=False)
    op.create_index(op.f("ix_job_output_commit_id"), "job", ["output_commit_id"], unique=False)
    op.create_index(op.f("ix_job_pipeline_id"), "job", ["pipeline_id"], unique=False)
    op.create_index(op.f("ix_job_set_id"), "job", ["set_id"], unique=False)
    op.create_index(op.f("ix_job_state"), "job", ["state"], unique=False)
