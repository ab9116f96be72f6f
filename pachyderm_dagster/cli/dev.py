"""Runs Dagster for a home until it is told to stop: UI, daemon and commit sensors, and new pipelines loaded as they come."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping

import click

from pachyderm_dagster.cli.names import DEV_LEASE
from pachyderm_dagster.cli.signals import stopped_by_signal
from pachyderm_dagster.coordination.drivers import SENSOR_OWNER
from pachyderm_dagster.coordination.leases import LEASE_TIME, HeldLease
from pachyderm_dagster.coordination.names import sensor_lease
from pachyderm_dagster.errors import ExistsError, PachydermError, StateError, UnreachableError
from pachyderm_dagster.integration.dev_processes import HOST, LOCATION, DevProcesses
from pachyderm_dagster.integration.instance import ensure_dagster_home
from pachyderm_dagster.integration.reloading import WATCH_SECONDS, Reloader, snapshot_of
from pachyderm_dagster.integration.web_api import is_loaded, is_up
from pachyderm_dagster.record import Record, open_record
from pachyderm_dagster.settings import DAGSTER_HOME, HOME, HOME_OBJECTS

DEFAULT_PORT = 3000


def dev(environ: Mapping[str, str], port: int | None, *, is_instant: bool = False) -> int:
    """Serves the home that `environ` names on `port` until SIGINT or SIGTERM; the exit status. `is_instant`: short jobs are done without a run.

    Raises:
        StateError: `dev-running`, when it runs for this home already.
        ExistsError: `port-taken`.
        ExecutionError: `service-ended`, when one of Dagster's processes ends by itself.
    """
    port = port or DEFAULT_PORT
    record = open_record(environ)
    try:
        with _only_one(record), stopped_by_signal() as stop:
            _check_port(port)
            ensure_dagster_home(record.settings)
            _serve(record, environ, port, stop, is_instant=is_instant)
    finally:
        record.database.close()
    return 0


def _serve(record: Record, environ: Mapping[str, str], port: int, stop: threading.Event, *, is_instant: bool) -> None:
    settings = record.settings
    url = f"http://{HOST}:{port}"
    loaded = snapshot_of(record)
    try:
        own = {**environ, HOME: str(settings.home), DAGSTER_HOME: str(settings.dagster_home)}
        with DevProcesses(own, port, settings.home / "logs", is_instant, settings.objects == HOME_OBJECTS) as processes:
            reloader = Reloader(record, url, LOCATION, lambda line: click.echo(line, err=True), processes.is_served, loaded)
            while not stop.is_set() and not (_is_ready(url)):
                processes.check()
                stop.wait(0.3)
            if not stop.is_set():
                click.echo(f"Dagster runs at {url} for {settings.home}; Ctrl-C stops it")
            # What was made while the code server loaded may be in it or not: the first look loads it again.
            while not stop.wait(WATCH_SECONDS):
                processes.check()
                reloader.look()
    finally:
        # What cannot be given back ends by itself.
        with contextlib.suppress(PachydermError):
            for project in snapshot_of(record).projects:
                record.leases.release(sensor_lease(project), SENSOR_OWNER)


def _is_ready(url: str) -> bool:
    try:
        return is_up(url) and is_loaded(url)
    except UnreachableError:
        # It answers, and not yet that.
        return False


@contextlib.contextmanager
def _only_one(record: Record) -> Iterator[None]:
    owner = record.database.clock.new_id()
    if not record.leases.acquire(DEV_LEASE, owner, LEASE_TIME):
        home = record.settings.home
        seconds = LEASE_TIME.total_seconds()
        raise StateError("dev-running", f"Dagster runs for {home} already; use that one, or stop it first (after a crash its claim lasts {seconds:g} s)")
    with HeldLease(record.leases, DEV_LEASE, owner):
        yield


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ExistsError("port-taken", f"port {port} of {HOST} is taken: {error.strerror}; choose another one with --port") from error
