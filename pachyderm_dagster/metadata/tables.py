"""The tables of the record; what is many (files, datums) lives in trees, never in rows."""

import datetime as dt

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(sa.types.TypeDecorator[dt.datetime]):
    """A timezone-aware UTC time; SQLite has none, so it is kept there without the zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        return None if value is None else value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def _id() -> sa.Column[int]:
    # AUTOINCREMENT on SQLite too: an id that is never used again keeps "newer" and "greater id" the same thing.
    return sa.Column("id", sa.Integer, primary_key=True, autoincrement=True)


def _reference(name: str, target: str, *, nullable: bool = False, cascade: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.ForeignKey(target, ondelete="CASCADE" if cascade else None), nullable=nullable, index=True)


project = sa.Table(
    "project",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("description", sa.Text, nullable=False, default=""),
    sqlite_autoincrement=True,
)

repo = sa.Table(
    "repo",
    metadata,
    _id(),
    _reference("project_id", "project.id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("description", sa.Text, nullable=False, default=""),
    sa.UniqueConstraint("project_id", "name", "type"),
    sqlite_autoincrement=True,
)

branch = sa.Table(
    "branch",
    metadata,
    _id(),
    _reference("repo_id", "repo.id", cascade=True),
    sa.Column("name", sa.Text, nullable=False),
    # No foreign key: branch and commit would refer to one another, and SQLite cannot add a constraint later.
    sa.Column("head_id", sa.Integer, nullable=True),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.UniqueConstraint("repo_id", "name"),
    sqlite_autoincrement=True,
)

branch_provenance = sa.Table(
    "branch_provenance",
    metadata,
    sa.Column("branch_id", sa.ForeignKey("branch.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("upstream_id", sa.ForeignKey("branch.id", ondelete="CASCADE"), primary_key=True, index=True),
)

commit = sa.Table(
    "commit",
    metadata,
    _id(),
    _reference("repo_id", "repo.id", cascade=True),
    sa.Column("set_id", sa.Text, nullable=False, index=True),
    sa.Column("branch_name", sa.Text, nullable=True),
    _reference("parent_id", "commit.id", nullable=True),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False, default=""),
    sa.Column("started", UtcDateTime, nullable=False),
    sa.Column("finished", UtcDateTime, nullable=True),
    sa.Column("error", sa.Text, nullable=True),
    sa.Column("tree", sa.LargeBinary, nullable=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False, default=0),
    sa.UniqueConstraint("repo_id", "set_id"),
    sqlite_autoincrement=True,
)

commit_provenance = sa.Table(
    "commit_provenance",
    metadata,
    sa.Column("commit_id", sa.ForeignKey("commit.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("upstream_id", sa.ForeignKey("commit.id", ondelete="CASCADE"), primary_key=True, index=True),
    # The branch it was read through: two branches of one repo may have one head.
    sa.Column("branch_name", sa.Text, primary_key=True),
)

commit_layer = sa.Table(
    "commit_layer",
    metadata,
    _id(),
    _reference("commit_id", "commit.id", cascade=True),
    sa.Column("layer", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

pipeline = sa.Table(
    "pipeline",
    metadata,
    _id(),
    _reference("project_id", "project.id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("results", sa.LargeBinary, nullable=True),
    sa.UniqueConstraint("project_id", "name"),
    sqlite_autoincrement=True,
)

pipeline_version = sa.Table(
    "pipeline_version",
    metadata,
    sa.Column("pipeline_id", sa.ForeignKey("pipeline.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("salt", sa.Text, nullable=False),
    sa.Column("set_id", sa.Text, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
)

job = sa.Table(
    "job",
    metadata,
    _id(),
    _reference("pipeline_id", "pipeline.id", cascade=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("set_id", sa.Text, nullable=False, index=True),
    _reference("output_commit_id", "commit.id", cascade=True),
    _reference("meta_commit_id", "commit.id", cascade=True),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("started", UtcDateTime, nullable=True),
    sa.Column("finished", UtcDateTime, nullable=True),
    *(
        sa.Column(name, sa.BigInteger, nullable=False, default=0)
        for name in ("data_total", "data_processed", "data_skipped", "data_failed", "data_recovered", "restarts", "download_bytes", "upload_bytes")
    ),
    *(sa.Column(name, sa.Float, nullable=False, default=0.0) for name in ("download_seconds", "process_seconds", "upload_seconds")),
    sa.Column("run_id", sa.Text, nullable=True),
    sa.UniqueConstraint("pipeline_id", "set_id"),
    sqlite_autoincrement=True,
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("expires", UtcDateTime, nullable=False),
)
