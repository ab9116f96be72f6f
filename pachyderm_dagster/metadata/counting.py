"""The numbers that tables give their rows: none is given twice, not even those of rows that are gone."""

from collections.abc import Mapping

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t


def last_rows(connection: sa.Connection) -> Mapping[str, int]:
    """Of each table that numbers its rows the greatest number it ever gave."""
    return {table.name: last_row(connection, table.name) for table in t.metadata.sorted_tables if table.dialect_options["sqlite"]["autoincrement"]}


def last_row(connection: sa.Connection, table: str) -> int:
    """The greatest row id that a table ever gave, deleted rows included."""
    if connection.dialect.name == "sqlite":
        row = connection.execute(sa.text("SELECT seq AS last FROM sqlite_sequence WHERE name = :name"), {"name": table}).first()
    else:
        row = connection.execute(sa.text("SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS last FROM " + f'"{table}_id_seq"')).first()
    return 0 if row is None else int(row.last)


def count_on(connection: sa.Connection, table: str, last: int) -> None:
    """Lets the next row of a table have a greater id than `last`."""
    if not last:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table})
        connection.execute(sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), {"name": table, "last": last})
    else:
        connection.execute(sa.select(sa.func.setval(f'"{table}_id_seq"', last)))
