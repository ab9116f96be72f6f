"""The tables of the record; what is many (files, datums) lives in trees, never in rows."""

import datetime as dt
from typing import Any

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


def _labels() -> sa.Column[Any]:
    """What users note on an object: a map of texts."""
    return sa.Column("metadata", sa.JSON, nullable=False, server_default="{}")


def _reference(name: str, target: str, *, nullable: bool = False, cascade: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.ForeignKey(target, ondelete="CASCADE" if cascade else None), nullable=nullable, index=True)


project = sa.Table(
    "project",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("description", sa.Text, nullable=False, default=""),
    _labels(),
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
    _labels(),
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
    _labels(),
    sa.UniqueConstraint("repo_id", "name"),
    sqlite_autoincrement=True,
)

branch_provenance = sa.Table(
    "branch_provenance",
    metadata,
    sa.Column("branch_id", sa.ForeignKey("branch.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("upstream_id", sa.ForeignKey("branch.id", ondelete="CASCADE"), primary_key=True, index=True),
    # A commit upstream makes none here; the head is read whenever something else makes one.
    sa.Column("never", sa.Boolean, nullable=False, server_default=sa.false()),
)

branch_trigger = sa.Table(
    "branch_trigger",
    metadata,
    sa.Column("branch_id", sa.ForeignKey("branch.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("source_id", sa.ForeignKey("branch.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("all_conditions", sa.Boolean, nullable=False),
    # As the user wrote them: "100M", "@daily"; empty where there is no such condition.
    sa.Column("size", sa.Text, nullable=False),
    sa.Column("commits", sa.Integer, nullable=False),
    sa.Column("rate_limit_spec", sa.Text, nullable=False),
    sa.Column("cron_spec", sa.Text, nullable=False),
    # Where `cron_spec` counts from: its last tick, at first when the trigger was made.
    sa.Column("ticked", UtcDateTime, nullable=False),
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
    # What its writing added to the object store; content that was there already adds nothing.
    sa.Column("stored_bytes", sa.BigInteger, nullable=False, server_default="0"),
    # Its content was given up by `forget commit`; the record of it stays.
    sa.Column("forgotten", sa.Boolean, nullable=False, server_default=sa.false()),
    # Whether the store holds a record of it that says what this row says (pfs.commit_records). Whoever changes a finished commit takes that back.
    sa.Column("recorded", sa.Boolean, nullable=False, server_default=sa.false()),
    _labels(),
    sa.UniqueConstraint("repo_id", "set_id"),
    sqlite_autoincrement=True,
)
_unrecorded = sa.Index("ix_commit_unrecorded", commit.c.id)


@sa.event.listens_for(commit, "before_create")
def _leave_recorded_out(_table: sa.Table, connection: sa.Connection, **_options: object) -> None:
    """Of commits that are recorded, which are nearly all, that index has none. Said here for the database in use only:
    to say it where the index is made, SQLAlchemy imports PostgreSQL's dialect, which takes longer than most looks at a record.
    """
    _unrecorded.dialect_options[connection.dialect.name]["where"] = commit.c.recorded == sa.false()


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

# So that a record that is rebuilt from the store does not bring back what was squashed or dropped. No foreign key: the repo may be gone too.
removed_commit = sa.Table(
    "removed_commit",
    metadata,
    _id(),
    sa.Column("repo_id", sa.Integer, nullable=False),
    sa.Column("set_id", sa.Text, nullable=False),
    sa.Column("removed", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
)

# Content that was given up (removed and forgotten commits, staged layers, results of pipelines), kept until whoever could still be reading it is done.
released_tree = sa.Table(
    "released_tree",
    metadata,
    _id(),
    # The type of the repo, `results`, or `layer`.
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("tree", sa.LargeBinary, nullable=False),
    sa.Column("released", UtcDateTime, nullable=False, index=True),
    sqlite_autoincrement=True,
)

# One row, with id 1, once something was collected: objects that nothing referred to may be gone if they were last stored before `horizon`.
collection = sa.Table(
    "collection",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("horizon", UtcDateTime, nullable=False),
)

file_set = sa.Table(
    "file_set",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("expires", UtcDateTime, nullable=False),
    # What its layers lie upon: the content of a commit, or nothing.
    sa.Column("tree", sa.LargeBinary, nullable=True),
)

file_set_layer = sa.Table(
    "file_set_layer",
    metadata,
    _id(),
    sa.Column("file_set_id", sa.ForeignKey("file_set.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("layer", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

# Transactions of users, which gather requests until they are finished.
open_transaction = sa.Table(
    "open_transaction",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("started", UtcDateTime, nullable=False),
)

transaction_request = sa.Table(
    "transaction_request",
    metadata,
    _id(),
    sa.Column("transaction_id", sa.ForeignKey("open_transaction.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("request", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)

cluster_metadata = sa.Table(
    "cluster_metadata",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
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
    # With defaults, complete and canonical.
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("salt", sa.Text, nullable=False),
    sa.Column("set_id", sa.Text, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    # As its user gave it, as JSON, and the text that it was written as; empty when it was given complete, by a program or to an older release.
    sa.Column("user_spec", sa.Text, nullable=False, server_default=""),
    sa.Column("user_text", sa.Text, nullable=False, server_default=""),
)

# What specifications leave out: of every pipeline (no project), and of those in a project.
pipeline_defaults = sa.Table(
    "pipeline_defaults",
    metadata,
    _id(),
    sa.Column("project_id", sa.ForeignKey("project.id", ondelete="CASCADE"), nullable=True, unique=True),
    sa.Column("document", sa.Text, nullable=False),
    sqlite_autoincrement=True,
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
    # While it is unfinished the datums that have ended, as a meta tree has them. Nothing else may refer to that: an unfinished job holds collection back.
    sa.Column("checkpoint", sa.LargeBinary, nullable=True),
    # What its egress wrote (pps.model.EgressResult).
    sa.Column("delivered", sa.JSON(none_as_null=True), nullable=True),
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

# One row: what ties this record to its store. A record without it is new, or was lost.
record_state = sa.Table(
    "record_state",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    # The store holds the same under the key `record`; null in a record that an older release made, until something is saved.
    sa.Column("store_id", sa.Text, nullable=True),
    # How often the structure changed, and the state of it that the store holds.
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.Column("saved", sa.BigInteger, nullable=False),
)

STRUCTURE = frozenset(
    {project, repo, branch, branch_provenance, branch_trigger, pipeline, pipeline_version, pipeline_defaults, cluster_metadata, removed_commit}
)
"""What is saved as one object in the store whenever it changes (pfs.structure); commits have records of their own."""
