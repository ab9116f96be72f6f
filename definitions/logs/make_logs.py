"""Writes the files in data/: access logs of two web servers for three days, in the Common Log Format, and a note for each day with a release."""

import datetime as dt
import random
from pathlib import Path

DATA = Path(__file__).parent / "data"
SERVERS = ("web-1", "web-2")
DAYS = (dt.date(2026, 5, 1), dt.date(2026, 5, 2), dt.date(2026, 5, 3))
RELEASES = {dt.date(2026, 5, 2): "1.4: search over all pages"}
REQUESTS, SECONDS = 60, 24 * 60 * 60
PAGES = {"/": 20, "/pages/intro": 10, "/pages/setup": 8, "/search": 6, "/login": 3}
ERRORS = {"/search": 0.5}
"""Of the requests on days with a release, the share that fails, by path."""


def export(folder: Path) -> None:
    """Writes `access/SERVER/DAY.log` and `releases/DAY.txt`; the same each time."""
    source = random.Random(14)
    for day in DAYS:
        for server in SERVERS:
            path = folder / "access" / server / f"{day}.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            times = sorted(dt.timedelta(seconds=source.randrange(SECONDS)) for _ in range(REQUESTS))
            path.write_text("".join(f"{make_line(source, day, time)}\n" for time in times))
    for day, release in RELEASES.items():
        path = folder / "releases" / f"{day}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{release}\n")


def make_line(source: random.Random, day: dt.date, since_midnight: dt.timedelta) -> str:
    """A line of a log, with an address of a network for documentation."""
    page = source.choices(list(PAGES), weights=list(PAGES.values()))[0]
    fails = day in RELEASES and source.random() < ERRORS.get(page, 0)
    time = dt.datetime.combine(day, dt.time()) + since_midnight
    request = f'"GET {page} HTTP/1.1" {500 if fails else 200} {source.randrange(200, 20_000)}'
    return f"192.0.2.{source.randrange(1, 30)} - - [{time:%d/%b/%Y:%H:%M:%S} +0000] {request}"


if __name__ == "__main__":
    export(DATA)
