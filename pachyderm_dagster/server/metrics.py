"""The figures of a home for Prometheus, read when they are asked for."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pachyderm_dagster.errors import ExistsError, PachydermError, StorageError
from pachyderm_dagster.pfs.store_ids import find_mark
from pachyderm_dagster.record import Record
from pachyderm_dagster.server.figures import Figures, read_figures

PREFIX = "pachyderm"


@dataclass(slots=True)
class _Part:
    """The record or the store: whether it answered, and how often it did not."""

    errors: int = 0
    is_up: bool = True

    def ask(self, question: Callable[[], object]) -> None:
        try:
            question()
        except PachydermError:
            self.errors += 1
            self.is_up = False
        else:
            self.is_up = True


@dataclass(slots=True, eq=False)
class HomeCollector:
    """Reads the record and looks at the store at each scrape; what does not answer is a figure too."""

    record: Record
    _record: _Part = field(default_factory=_Part)
    _store: _Part = field(default_factory=_Part)
    # Scrapes may overlap.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus asks for."""
        found: list[Figures] = []
        with self._lock:
            self._record.ask(lambda: found.append(self._read()))
            self._store.ask(self._look_at_store)
            parts = {"record": self._record, "store": self._store}
            yield _gauge("up", "Whether it answers.", ["part"], (((name,), part.is_up) for name, part in parts.items()))
            errors = CounterMetricFamily(f"{PREFIX}_errors", "How often it did not answer this process, or not well.", labels=["part"])
            for name, part in parts.items():
                errors.add_metric([name], part.errors)
            yield errors
        for figures in found:
            yield from _families(figures)

    def _look_at_store(self) -> None:
        if find_mark(self.record.store.open()) is None:
            raise StorageError("store-unmarked", "the store is empty, or another one")

    def _read(self) -> Figures:
        with self.record.database.read() as txn:
            return read_figures(txn, self.record.database.clock.now())


@contextlib.contextmanager
def serving(record: Record, host: str, port: int) -> Iterator[int]:
    """Answers `/metrics` at `host` as long as the block runs; gives the port, which is another one for 0.

    Raises:
        ExistsError: `port-taken`.
    """
    registry = CollectorRegistry()
    # Whatever has `collect` will do, which the types of the library do not say.
    collector: Any = HomeCollector(record)
    registry.register(collector)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise ExistsError("port-taken", f"port {port} of {host} is taken: {error.strerror}; choose another one with --port") from error
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _families(figures: Figures) -> Iterator[Metric]:
    yield _gauge("jobs", "Jobs that there are.", ["project", "pipeline", "state"], figures.jobs.items())
    yield _gauge("job_datums", "Datums of the jobs that there are.", ["project", "pipeline", "outcome"], figures.datums.items())
    yield _gauge("pipelines", "Pipelines.", ["project", "state"], figures.pipelines.items())
    yield _gauge("commits", "Commits in repos of users and outputs.", ["project"], (((name,), number) for name, number in figures.commits.items()))
    waiting = (((name,), seconds) for name, seconds in figures.waiting.items())
    yield _gauge("oldest_unfinished_job_seconds", "Since the oldest unfinished job was made.", ["project"], waiting)


def _gauge(name: str, text: str, labels: list[str], values: Iterable[tuple[tuple[str, ...], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for key, value in values:
        family.add_metric(list(key), value)
    return family
