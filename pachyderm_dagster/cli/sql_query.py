"""`sql query`: what a pipeline that reads a database runs."""

from collections.abc import Mapping
from pathlib import Path

import click

from pachyderm_dagster.settings import SQL_PASSWORD
from pachyderm_dagster.sql.databases import open_database
from pachyderm_dagster.sql.queries import save_query


@click.command(epilog="Example: pachctl sql query --url postgresql://reader@db/shop -f /pfs/out/orders.csv 'SELECT * FROM orders ORDER BY id'")
@click.argument("query")
@click.option("--url", required=True, metavar="URL", help="The database: postgresql://, mysql:// or sqlite:////folder/file.db, without a password.")
@click.option("-f", "--file", "path", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where to; the name ends with .csv or .parquet.")
@click.pass_obj
def sql_query(environ: Mapping[str, str], query: str, url: str, path: Path) -> None:
    """The password is read from PACHYDERM_SQL_PASSWORD. Rows are streamed, in the order in which the database gives them, which ORDER BY makes the same
    each time.
    """
    engine = open_database(url, environ.get(SQL_PASSWORD) or None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = save_query(engine, query, path)
    finally:
        engine.dispose()
    click.echo(f"{rows:,} rows", err=True)
