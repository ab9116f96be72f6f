"""Says in /pfs/out/DAY.txt how a day went, from /pfs/days/DAY.csv, and what was released on it, if /pfs/releases/DAY.txt is there."""

import csv
import os
from pathlib import Path


def main(pfs: Path) -> None:
    (table,) = (pfs / "days").glob("*.csv")
    releases = list((pfs / "releases").glob("*.txt"))
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    requests, errors = (sum(int(row[column]) for row in rows) for column in ("requests", "errors"))
    lines = [f"{table.stem}: {requests} requests, {errors} errors"]
    lines += [f"released {path.read_text().strip()}" for path in releases]
    lines += [f"{row['errors']} of {row['requests']} requests of {row['path']} failed" for row in rows if row["errors"] != "0"]
    (pfs / "out" / f"{table.stem}.txt").write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    # Where the system does not let /pfs be made, it is another folder, which PFS_ROOT names.
    main(Path(os.environ.get("PFS_ROOT", "/pfs")))
