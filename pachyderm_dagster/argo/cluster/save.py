"""Stores what a pod of a workflow gave: `python -m pachyderm_dagster.argo.cluster.save STORE_URL FOLDER`, a container beside that of user code.

Everything in the folder that it shares with user code may be other than it should: files are opened without following links.
"""

import os
import secrets
import signal
import stat
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import BinaryIO, NoReturn

from pachyderm_dagster.argo.artifact_files import pack, untar
from pachyderm_dagster.argo.cluster.area import Answer, Gave, Order, PodArea
from pachyderm_dagster.argo.cluster.layout import PACH, REFUSED, RESULT, RUN, SAVED, TAKEN, taken_output
from pachyderm_dagster.argo.outputs import result_of
from pachyderm_dagster.argo.parameters import Artifact
from pachyderm_dagster.errors import ExecutionError, PachydermError, UnreachableError
from pachyderm_dagster.storage.open_store import open_store

MOST_PARAMETER_BYTES = 16 << 20
"""What is larger is an artifact: a parameter goes through the memory of all who see it."""
_LOOK_SECONDS = 0.05
_MOST_STARTS = 8
_STARTS = "starts"


def save(run: Path, area: PodArea, order: Order, scratch: Path) -> None:
    """Stores the outputs that were taken into a folder, and the answer.

    Raises:
        ExecutionError: `output-not-taken`, when something else is there than was put there.
        UnreachableError: `storage-unreachable`.
    """
    with _opened(run / TAKEN) as file:
        code = int(file.read(16) or b"1")
    id = secrets.token_hex(8)
    parameters: dict[str, str] = {}
    artifacts: dict[str, Gave] = {}
    for number, one in enumerate(order.wanted):
        taken = run / taken_output(number)
        if not os.path.lexists(taken):
            continue
        with _opened(taken) as file:
            if one.artifact is None:
                parameters[one.name] = _text(file, one.name).decode("utf-8", "replace").removesuffix("\n")
            else:
                packed, is_folder = _packed(file, one.artifact, scratch / str(number))
                artifacts[one.name] = Gave(area.put_output(number, packed, id=id), is_folder)
    area.write_answer(Answer(code, parameters, artifacts, _result(run) if order.keeps_result else None))


def _opened(path: Path) -> BinaryIO:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ExecutionError("output-not-taken", f"{path} cannot be read ({error.strerror}); user code must leave {PACH}/{RUN} alone") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ExecutionError("output-not-taken", f"{path} is no file; user code must leave {PACH}/{RUN} alone")
    return os.fdopen(descriptor, "rb")


def _text(file: BinaryIO, parameter: str) -> bytes:
    data = file.read(MOST_PARAMETER_BYTES + 1)
    if len(data) > MOST_PARAMETER_BYTES:
        problem = f"the output parameter {parameter!r} has more than {MOST_PARAMETER_BYTES >> 20} MiB"
        raise ExecutionError("output-not-taken", f"{problem}; give it as an output artifact")
    return data


def _packed(file: BinaryIO, artifact: Artifact, scratch: Path) -> tuple[Path, bool]:
    """An artifact as it is kept, from the archive that it was taken into; whether it is a folder in an archive again, because it is kept as it is."""
    unpacked, packed = scratch / "unpacked", scratch / "packed"
    unpacked.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=file) as archive:
            untar(archive, unpacked)
        (entry,) = unpacked.iterdir()
    except (tarfile.TarError, OSError, ValueError) as error:
        raise ExecutionError("output-not-taken", f"the output artifact {artifact.name!r} cannot be unpacked: {error}") from error
    _check_links(entry, artifact)
    if artifact.archive is not None and artifact.archive.none is not None:
        if not entry.is_dir():
            return entry, False
        with tarfile.open(packed, "w") as archive:
            archive.add(entry, arcname=".")
        return packed, True
    pack(str(entry), artifact, packed)
    return packed, False


def _check_links(entry: Path, artifact: Artifact) -> None:
    """Links would be followed here, where the credentials of the store are, by what keeps their targets instead of them."""
    is_zip = artifact.archive is not None and artifact.archive.zip is not None
    if entry.is_symlink() or (is_zip and any(path.is_symlink() for path in entry.rglob("*"))):
        raise ExecutionError("output-not-taken", f"the output artifact {artifact.name!r} holds links, which are not followed; keep it as a tar archive")


def _result(run: Path) -> str:
    try:
        with _opened(run / RESULT) as file:
            return result_of(file)
    except ExecutionError:
        if (run / RESULT).exists():
            raise
        return ""


def _end(_number: int, _frame: object) -> NoReturn:
    os._exit(0)


def _count_start(folder: Path) -> int:
    """How often this container was started."""
    number = int((folder / _STARTS).read_text()) + 1 if (folder / _STARTS).exists() else 1
    (folder / _STARTS).write_text(str(number))
    return number


def _tell(run: Path, name: str, text: str = "") -> None:
    new = run / f".{name}.{secrets.token_hex(8)}"
    new.write_text(text)
    new.chmod(0o644)
    new.replace(run / name)


def main(store_url: str, folder: str) -> NoReturn:
    """The container: waits until there is something to store, stores it, and waits for the end of the pod."""
    signal.signal(signal.SIGTERM, _end)
    starts = _count_start(Path(PACH))
    run = Path(PACH, RUN)
    while not (run / TAKEN).exists():
        time.sleep(_LOOK_SECONDS)
    try:
        if starts > _MOST_STARTS:
            raise ExecutionError("output-not-taken", f"the container that stores outputs failed {_MOST_STARTS} times; the log of 'pachyderm-save' says how")
        area = PodArea(open_store(store_url), folder)
        with tempfile.TemporaryDirectory(dir=PACH) as scratch:
            save(run, area, area.order(), Path(scratch))
    except PachydermError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  what the pod's log shows
        if isinstance(error, UnreachableError):
            # It is started again in its place.
            sys.exit(os.EX_TEMPFAIL)
        _tell(run, REFUSED, str(error).replace("\n", " ") + "\n")
    _tell(run, SAVED)
    while True:
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
