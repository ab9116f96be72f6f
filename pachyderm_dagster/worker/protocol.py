"""What an executor and a worker say to each other: msgpack messages behind their length, over the worker's standard input and output.

The executor sends one `WorkerSetup`, then a `DatumTask` a datum. The worker answers the first with `WorkerReady`, each task with a `DatumResult`, in any
order; `WorkerRefused` may take the place of any of them and is the last answer. Closed input means: end now, and kill what runs.

A datum is one message, and so is its result, each whole in memory on both sides: per file about 120 bytes and its path as bytes in the pipe, and of a task
500 bytes as objects. So a datum of `/` over a million files takes about 650 MB in the executor and as much in a worker for each such task that it holds.
"""

import enum
import struct
from typing import BinaryIO, Self, TypeAlias

import msgspec

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.file_columns import FileColumns
from pachyderm_dagster.worker.cgroups import Limits

_LENGTH = struct.Struct("<Q")
_ERRORS: dict[str, type[PachydermError]] = {kind.__name__: kind for kind in PachydermError.__subclasses__()}


IN_CONTAINER = "container"
"""In the place of a folder for a log, in a pod: what the container of the worker prints is the log."""
MOST_DEATHS_OF_A_DATUM = 2
"""So many workers, or containers, may end while they run a datum until that fails: then nobody runs it again."""


class ResultState(enum.Enum):
    """How a datum ended."""

    SUCCESS = "SUCCESS"  # the command ended well, its output is stored
    FAILED = "FAILED"  # no try ended well, or the output cannot be taken
    RECOVERED = "RECOVERED"  # no try ended well, but the error command did: there is no output


class WorkerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker must know to run the datums of one pipeline job.

    Args:
        store_url: where the contents of inputs are and those of outputs go.
        scratch: folder for the worker's own use, on a disk that has room for the files of a few datums.
        cmd: the program and its arguments.
        stdin: lines of the program's standard input.
        err_cmd, err_stdin: the same of the program that runs after a failed try; none when empty.
        working_dir: where the program starts; None for the folder above `/pfs`.
        accept_return_code: exit codes that count as success beside 0.
        environment: all variables that user code gets, but those of its datum; the worker adds `PFS_ROOT`.
        datum_batching: whether the program stays for a set of datums and asks for each.
        user: name or number of the user that the program runs as; empty for the worker's own.
        memory_volume: whether the files of datums are in memory instead of on a disk.
        secret_files: by absolute path of a folder the files, by name, that only user code finds there.
        source_files: of the source folder that user code finds as `/pfs/source`, by path below it, and starts in; none without one.
        datum_tries: how often a datum is tried in all, at least 1.
        datum_timeout: seconds for one try; None for no limit.
        kept_log: folder of the log of a program that stays, as a service does, or IN_CONTAINER; empty for others. Nothing that it writes goes to the store.
        grace: seconds that the program has to end, after a SIGTERM, when the executor closes the pipe; 0: it is killed at once.
        limits: what user code may use at most; the executor makes control groups for it, `cgroups`, where the system lets it.
        terminal: whether the command has the standard streams of the worker to itself; for one that is started where somebody types.
        image: named when a command is missing, because it is not used here; empty where user code does run in it.
    """

    store_url: str
    scratch: str
    cmd: tuple[str, ...]
    stdin: tuple[str, ...] = ()
    err_cmd: tuple[str, ...] = ()
    err_stdin: tuple[str, ...] = ()
    working_dir: str | None = None
    accept_return_code: tuple[int, ...] = ()
    environment: dict[str, str] = {}
    datum_batching: bool = False
    user: str = ""
    memory_volume: bool = False
    secret_files: dict[str, dict[str, bytes]] = {}
    source_files: tuple[tuple[str, Content], ...] = ()
    datum_tries: int = 3
    datum_timeout: float | None = None
    kept_log: str = ""
    grace: float = 0.0
    limits: Limits | None = None
    cgroups: tuple[str, ...] = ()
    terminal: bool = False
    image: str = ""


class InputFile(msgspec.Struct, frozen=True):
    """One match of an input's glob, as user code is to see it.

    Args:
        name: the input's name, the folder below `/pfs`.
        path: of the file or directory in its repo, `/a/b`; `/` for the whole repo.
        is_dir: whether it is a directory.
        files: the path in the repo and the content of every file; of a file itself alone.
        lazy: whether they are named pipes, filled when they are opened.
        empty: whether they are files without their content, which is for links to them alone.
    """

    name: str
    path: str
    is_dir: bool
    files: tuple[tuple[str, Content], ...]
    lazy: bool = False
    empty: bool = False


class DatumTask(msgspec.Struct, frozen=True):
    """One datum to run.

    Args:
        id: of the datum, 64 hex digits.
        index: of the datum in its job, given back with the result.
        inputs: what is staged.
        environment: variables of this datum, but the paths of the inputs, which the worker adds.
        datum_set: number of its set; datums of one set are given to one worker, one after another. None: it is alone.
    """

    id: str
    index: int
    inputs: tuple[InputFile, ...]
    environment: dict[str, str] = {}
    datum_set: int | None = None


class DatumResult(msgspec.Struct, frozen=True, kw_only=True, tag="result"):
    """How a datum went. Everything that it refers to is durable.

    Args:
        id, index: those of the task.
        reason: of a failure, also one that was recovered from, one line that ends with its code in brackets; empty otherwise.
        exit_code: of the last try, negative for a signal; None if it did not start or was out of time.
        tries: how often the command was started.
        outputs: each file below `/pfs/out`, by its path; the names are keys of a tree. Empty after a failure.
        process_seconds: in user code, over all tries.
        download_seconds, upload_seconds: moving files; `download_bytes` of all inputs, `upload_bytes` of outputs that are not files of an input.
        log: what user code printed, also when it failed; None if nothing.
        log_times: places in it, and how many milliseconds after `started` what is there came.
        started: when user code was started first, in seconds since 1970; 0 if it was not.
    """

    id: str
    index: int
    state: ResultState
    reason: str = ""
    exit_code: int | None = None
    tries: int = 0
    outputs: FileColumns = FileColumns()
    process_seconds: float = 0.0
    download_seconds: float = 0.0
    upload_seconds: float = 0.0
    download_bytes: int = 0
    upload_bytes: int = 0
    log: Content | None = None
    log_times: tuple[tuple[int, int], ...] = ()
    started: float = 0.0


class WorkerReady(msgspec.Struct, frozen=True, tag="ready"):
    """The worker waits for tasks.

    Args:
        pfs_root: the folder that user code sees as `PFS_ROOT`.
        warning: why that is not `/pfs`; None if it is.
    """

    pfs_root: str
    warning: str | None


class WorkerRefused(msgspec.Struct, frozen=True, tag="refused"):
    """The worker cannot begin or go on, for a reason that is not its datums', and ends: those without a result have none.

    Args:
        kind: name of the error's class.
        code, message: of the error.
    """

    kind: str
    code: str
    message: str

    @classmethod
    def of(cls, error: PachydermError) -> Self:
        """Says that this error ended the worker."""
        return cls(type(error).__name__, error.code, error.message)

    def error(self) -> PachydermError:
        """The error that ended the worker, for the executor to raise."""
        return _ERRORS[self.kind](self.code, self.message)


Answer: TypeAlias = WorkerReady | WorkerRefused | DatumResult

_ENCODER = msgspec.msgpack.Encoder()
_ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
_SETUP = msgspec.msgpack.Decoder(WorkerSetup)
_TASK = msgspec.msgpack.Decoder(DatumTask)


def encode(message: WorkerSetup | DatumTask | Answer) -> bytes:
    """The message with its length before it, as it goes through the pipe."""
    body = _ENCODER.encode(message)
    return _LENGTH.pack(len(body)) + body


def read_setup(stream: BinaryIO) -> WorkerSetup | None:
    """Waits for the first message to a worker; None when the stream ended."""
    body = _read_body(stream)
    return None if body is None else _SETUP.decode(body)


def read_task(stream: BinaryIO) -> DatumTask | None:
    """Waits for the next task; None when the stream ended."""
    body = _read_body(stream)
    return None if body is None else _TASK.decode(body)


def take_answers(received: bytearray) -> list[Answer]:
    """Takes the whole messages out of `received` and leaves what came of the next one."""
    answers: list[Answer] = []
    start = 0
    while len(received) - start >= _LENGTH.size:
        body = start + _LENGTH.size
        end = body + _LENGTH.unpack_from(received, start)[0]
        if end > len(received):
            break
        with memoryview(received) as view, view[body:end] as message:
            answers.append(_ANSWERS.decode(message))
        start = end
    del received[:start]
    return answers


def _read_body(stream: BinaryIO) -> bytes | None:
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    length = _LENGTH.unpack(header)[0]
    body = stream.read(length)
    # Half a message: the sender was killed while it wrote.
    return body if len(body) == length else None
