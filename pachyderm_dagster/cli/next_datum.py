"""`next datum`: what user code under datum batching calls between its datums."""

import socket
from collections.abc import Mapping

import click
import msgspec

from pachyderm_dagster.errors import ExecutionError, StateError
from pachyderm_dagster.worker.batching import DONE, SOCKET_VARIABLE, NextRequest, short_path


@click.command(epilog='Example: while pachctl next datum; do . /pfs/.env; process "$images"; done')
@click.option("--error", "error", metavar="MESSAGE", help="The datum before failed, for this reason: it is tried again, or is a failed one.")
@click.pass_obj
def next_datum(environ: Mapping[str, str], error: str | None) -> None:
    """For the code of a pipeline with `transform.datum_batching`. It ends the datum before, whose output is what is in /pfs/out, and returns when the next one
    is in /pfs, with its variables in /pfs/.env. After the last datum it does not return: the code is ended.
    """
    path = environ.get(SOCKET_VARIABLE)
    if path is None:
        way_out = "set `transform.datum_batching: true` in the pipeline file, and call it from the pipeline's command only"
        raise StateError("datum-batching-off", f"no worker waits for `next datum` here; {way_out}")
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            with short_path(path) as short:
                connection.connect(short)
            connection.sendall(msgspec.json.encode(NextRequest(error)) + b"\n")
            answer = connection.recv(len(DONE))
    except OSError as problem:
        raise ExecutionError("worker-gone", f"the worker at {path} does not answer: {problem.strerror}; the job has ended") from problem
    if answer != DONE:
        raise ExecutionError("worker-gone", "the worker ended the call without another datum; the job has ended")
