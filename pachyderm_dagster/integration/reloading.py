"""Has Dagster load the workspace again when its branches or pipelines have changed: in `dev`, and as a process of its own."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.integration.record_snapshot import read_snapshot
from pachyderm_dagster.integration.snapshot import Snapshot
from pachyderm_dagster.integration.web_api import reload_location
from pachyderm_dagster.log_lines import TEXT, process_log, set_up
from pachyderm_dagster.record import Record, open_record
from pachyderm_dagster.settings import load_settings

WATCH_SECONDS = 1.0


def snapshot_of(record: Record) -> Snapshot:
    """The branches and pipelines as they are now."""
    with record.database.read() as txn:
        return read_snapshot(txn)


@dataclass(slots=True)
class Reloader:
    """Keeps a code location of the web server at `url` like the record.

    Args:
        tell: takes lines for people.
        is_served: whether the process that holds the definitions runs; always, where somebody else looks after it.
        loaded: what Dagster has loaded; None when that is not known.
    """

    record: Record
    url: str
    location: str
    tell: Callable[[str], None]
    is_served: Callable[[], bool] = lambda: True
    loaded: Snapshot | None = None
    _told: str = field(default="", init=False)

    def look(self) -> None:
        """Has it loaded again when it is another, or nobody holds it any more; what fails is told, once, and is the next look's."""
        try:
            found = snapshot_of(self.record)
            is_served = self.is_served()
            if not is_served:
                self.tell("The process that holds the definitions ended (often: no memory was left); another one is started")
            problem = None if is_served and found == self.loaded else reload_location(self.url, self.location)
        except PachydermError as error:
            # The disk is full for a while, or a server is away.
            problem = str(error)
        else:
            if problem is None:
                self.loaded, self._told = found, ""
        if problem is not None and problem != self._told:
            self.tell(f"The code location could not be loaded again, which is tried again: {problem}")
            self._told = problem


def main(words: Sequence[str]) -> int:
    """The process beside a web server and a code server that others started; it ends on SIGTERM."""
    parser = argparse.ArgumentParser(description="Has Dagster load the workspace again when its branches or pipelines have changed.")
    parser.add_argument("--url", required=True, help="Dagster's web server")
    parser.add_argument("--location", required=True, help="the code location's name there")
    asked = parser.parse_args(words)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    set_up(TEXT)
    try:
        set_up(load_settings(os.environ).log_format)
        record = open_record(os.environ)
    except PachydermError as error:
        process_log.error("%s", error)
        return 1
    reloader = Reloader(record, asked.url, asked.location, process_log.info)
    try:
        while not stop.wait(WATCH_SECONDS):
            reloader.look()
    finally:
        record.database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
