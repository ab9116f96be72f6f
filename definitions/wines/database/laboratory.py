"""Stands for the laboratory: makes the tables where there are none, and writes analyses from data/wines.csv.

    laboratory.py URL FIRST LAST [--untasted]

URL is SQLAlchemy's, of an account that may make tables; FIRST and LAST are ids. The kinds of untasted wines are left empty.
"""

import argparse
import csv
from pathlib import Path

import sqlalchemy as sa

FOLDER = Path(__file__).parent


def write(engine: sa.Engine, first: int, last: int, *, tasted: bool) -> None:
    """Adds the wines with these ids."""
    with (FOLDER.parent / "data" / "wines.csv").open(newline="") as file:
        wines = [wine if tasted else {**wine, "kind": None} for wine in csv.DictReader(file) if first <= int(wine["id"]) <= last]
    with engine.begin() as connection:
        if not sa.inspect(connection).has_table("wines"):
            for statement in filter(str.strip, (FOLDER / "tables.sql").read_text().split(";")):
                connection.exec_driver_sql(statement)
        connection.execute(sa.Table("wines", sa.MetaData(), autoload_with=connection).insert(), wines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    parser.add_argument("--untasted", action="store_true")
    arguments = parser.parse_args()
    write(sa.create_engine(arguments.url), arguments.first, arguments.last, tasted=not arguments.untasted)
