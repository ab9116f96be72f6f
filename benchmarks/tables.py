"""What an egress to a table costs: 200,000 rows of CSV, against the driver's own INSERT of the same rows as texts, on SQLite and on the servers that
TEST_METADATA_URL (PostgreSQL) and TEST_MYSQL_URL name.

Aims: three times the driver's time on SQLite, where the driver is all that a load adds to, and twice on MySQL; three quarters of it on PostgreSQL, where a
load is COPY.
"""

import csv
import io
from pathlib import Path

from benchmarks.measuring import in_turns, line, places, work
from pachyderm_dagster.sql.databases import begin_loading
from pachyderm_dagster.sql.loading import TableFile, load
from pachyderm_dagster.sql.row_files import Layout
from pachyderm_dagster.sql.vocabulary import FileType
from tests.records import SERVER
from tests.sql.databases import MYSQL, TestDatabase, new_database

ROWS = 200_000
TABLE = "CREATE TABLE facts (id INTEGER PRIMARY KEY, name VARCHAR(50), amount DECIMAL(10,2), moment TIMESTAMP NULL, good BOOLEAN)"
AIMS = {"sqlite": 3.0, "mysql": 2.0, "postgresql": 0.75}


def main() -> None:
    """Prints the figures, on disk and on tmpfs for SQLite; a server's files are where they are."""
    for number, folder in enumerate(places()):
        servers = [] if number else [kind for kind, url in (("postgresql", SERVER), ("mysql", MYSQL)) if url]
        for kind in ["sqlite", *servers]:
            with new_database(kind, folder) as database:
                measure(database, folder)


def measure(database: TestDatabase, scratch: Path) -> None:
    """Empties and fills the table in turns."""
    kind = database.engine.dialect.name
    database.run(TABLE)
    data = "".join(f"{n},name {n},{n % 9973}.{n % 100:02d},2026-01-{n % 28 + 1:02d} 12:{n % 60:02d}:00,{n % 2}\n" for n in range(ROWS)).encode()
    layout = Layout(FileType.CSV, (), scratch)
    file = TableFile("/facts/a", "facts", lambda: io.BufferedReader(io.BytesIO(data)))

    def insert() -> None:
        with database.engine.begin() as connection:
            begin_loading(connection)
            connection.exec_driver_sql("DELETE FROM facts")
            values = ", ".join("?" * 5 if kind == "sqlite" else ["%s"] * 5)
            connection.exec_driver_sql(f"INSERT INTO facts VALUES ({values})", [tuple(row) for row in csv.reader(io.StringIO(data.decode()))])

    found = in_turns({"ours": lambda: work(lambda: load(database.engine, [file], layout)), "driver": lambda: work(insert)})
    ours, driver = found["ours"].seconds, found["driver"].seconds
    line(f"load {ROWS:,} rows into {kind} / the driver's INSERT", ours / driver, AIMS[kind], detail=f"{ours:.2f} s, driver {driver:.2f} s")


if __name__ == "__main__":
    main()
