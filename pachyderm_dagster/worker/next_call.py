"""The call by which user code under datum batching asks for its next datum."""

import socket
from collections.abc import Mapping

import msgspec

from pachyderm_dagster.errors import ExecutionError, StateError
from pachyderm_dagster.worker.batching import DONE, SOCKET_VARIABLE, NextRequest, short_path
from pachyderm_dagster.worker.pipe_calls import PIPES_VARIABLE, call_by_pipes

# Written as JSON one may be six bytes, and a worker reads 64 KiB of a call.
_MOST_CHARACTERS = 10_000


def call_next(environ: Mapping[str, str], error: str | None) -> None:
    """Ends the datum before, as failed when `error` says why, and returns when the next one is in place. After the last one it does not return.

    Raises:
        StateError: `datum-batching-off`.
        ExecutionError: `worker-gone`.
    """
    path, pipes = environ.get(SOCKET_VARIABLE), environ.get(PIPES_VARIABLE)
    if pipes is not None:
        try:
            call_by_pipes(pipes, error)
        except OSError as problem:
            raise ExecutionError("worker-gone", f"the worker at {pipes} does not answer: {problem.strerror}; the job has ended") from problem
        return
    if path is None:
        way_out = "set `transform.datum_batching: true` in the pipeline file, and call it from the pipeline's command only"
        raise StateError("datum-batching-off", f"no worker waits for `next datum` here; {way_out}")
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            with short_path(path) as short:
                connection.connect(short)
            connection.sendall(msgspec.json.encode(NextRequest(None if error is None else _shortened(error))) + b"\n")
            answer = connection.recv(len(DONE))
    except OSError as problem:
        raise ExecutionError("worker-gone", f"the worker at {path} does not answer: {problem.strerror}; the job has ended") from problem
    if answer != DONE:
        raise ExecutionError("worker-gone", "the worker ended the call without another datum; the job has ended")


def _shortened(error: str) -> str:
    """The text without its end if it is long, and without what is no Unicode."""
    text = error.encode(errors="backslashreplace").decode()
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}… (the first {_MOST_CHARACTERS:,} of {len(text):,} characters)"
