"""Alembic's entry: runs the migrations over the connection that `upgrade` hands it."""

from alembic import context

from pachyderm_dagster.metadata import tables

connection = context.config.attributes["connection"]
# batch mode: SQLite cannot alter most of a table in place.
context.configure(connection=connection, target_metadata=tables.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
