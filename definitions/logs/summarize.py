"""Counts the requests of one day, over the logs of all servers in /pfs/access, and leaves /pfs/out/DAY.csv: a line for each path, with its errors and bytes."""

import csv
import os
import re
from collections import Counter
from pathlib import Path

LINE = re.compile(r'\S+ \S+ \S+ \[[^]]+\] "\S+ (?P<path>\S+) [^"]*" (?P<status>\d{3}) (?P<size>\d+|-)')


def main(pfs: Path) -> None:
    requests: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    logs = sorted((pfs / "access").glob("*/*.log"))
    for log in logs:
        for found in map(LINE.match, log.read_text().splitlines()):
            if found is None:
                continue
            requests[found["path"]] += 1
            errors[found["path"]] += found["status"] >= "500"
            sizes[found["path"]] += 0 if found["size"] == "-" else int(found["size"])
    # All logs of a datum are of one day, by which it was grouped.
    with (pfs / "out" / f"{logs[0].stem}.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("path", "requests", "errors", "bytes"))
        table.writerows((path, requests[path], errors[path], sizes[path]) for path in sorted(requests))
    print(f"{logs[0].stem}: {requests.total()} requests in {len(logs)} logs")


if __name__ == "__main__":
    # Where the system does not let /pfs be made, it is another folder, which PFS_ROOT names.
    main(Path(os.environ.get("PFS_ROOT", "/pfs")))
