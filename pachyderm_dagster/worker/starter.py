"""Gets the volume of a pod ready, before its other containers: `python -m pachyderm_dagster.worker.starter [FOLDER]`.

The folder, `/pach` where nothing else is said, gets a static busybox and the scripts that run user code in the container of its image, and the named pipes
by which the worker speaks with them. As an init container it runs once a pod; a second time does no harm.
"""

import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from pachyderm_dagster.errors import ExecutionError

PACH = "/pach"
BUSYBOX, STARTER, RUNNER, PACHCTL, MEMORY, LEAVE = "busybox", "starter", "runner", "pachctl", "memory", "leave"
TRIES, CONTROL, ANSWERS, OUTPUT = "tries", "control", "answers", "output"
"""Named pipes: the worker says which try is next, and what else is to be done; process 1 answers; user code prints."""
ENVIRON, CWD, IDS = "environ", "cwd", "ids"
"""Files that process 1 fills: the environment of its image, its working folder, its user's number and first group. It and the runner fill `MEMORY` too."""
LEAVING = "leaving"
"""A file that `leave` fills: the pod is to go, and user code is told to end."""
NEXT = "next"
"""Folder of `pachctl`, for the PATH of user code that asks for its datums."""
_SCRIPTS = Path(__file__).parent / "in_pod"
_ELF_INTERPRETER = 3


def prepare_volume(folder: str, busybox: str) -> None:
    """Makes what the containers of a pod find in their volume.

    Args:
        busybox: a program that needs no library: the image of user code may have none.

    Raises:
        ExecutionError: `starter-missing`, when the busybox is not static.
    """
    programs, run = Path(folder, "bin"), Path(folder, "run")
    for made in (programs, programs / NEXT, run, Path(folder, "pfs"), Path(folder, "worker")):
        made.mkdir(parents=True, exist_ok=True)
        made.chmod(0o755)
    Path(folder, "worker").chmod(0o700)
    install_busybox(programs, busybox)
    install_program(_SCRIPTS / STARTER, programs / STARTER)
    install_program(_SCRIPTS / RUNNER, programs / RUNNER)
    install_program(_SCRIPTS / MEMORY, programs / MEMORY)
    install_program(_SCRIPTS / LEAVE, programs / LEAVE)
    install_program(_SCRIPTS / PACHCTL, programs / NEXT / PACHCTL)
    for name in (TRIES, CONTROL, ANSWERS, OUTPUT):
        if not (run / name).is_fifo():
            os.mkfifo(run / name)
        # User code may be of any user.
        (run / name).chmod(0o666)
    for name in (ENVIRON, CWD, IDS, MEMORY, LEAVING):
        (run / name).touch()
        (run / name).chmod(0o666)


def install_busybox(programs: Path, busybox: str) -> None:
    """Copies a busybox that needs no library into a folder.

    Raises:
        ExecutionError: `starter-missing`, when it is not static.
    """
    if not is_static(Path(busybox).read_bytes()):
        raise ExecutionError("starter-missing", f"{busybox} needs libraries that the image of a pipeline may not have; install busybox-static in this image")
    install_program(Path(busybox), programs / BUSYBOX)


def is_static(program: bytes) -> bool:
    """Whether a program for Linux, in ELF, runs without any library: it names no interpreter that would find them."""
    if program[:4] != b"\x7fELF":
        return False
    is_64, is_little = program[4] == 2, program[5] == 1

    def number(at: int, size: int) -> int:
        return int.from_bytes(program[at : at + size], "little" if is_little else "big")

    start, size, count = (number(32, 8), number(54, 2), number(56, 2)) if is_64 else (number(28, 4), number(42, 2), number(44, 2))
    return all(number(start + size * at, 4) != _ELF_INTERPRETER for at in range(count))


def install_program(source: Path, target: Path) -> None:
    """Copies a program, in one step: one that runs is not written to, and another process may do the same in this folder."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}", delete=False) as new:
        new.write(source.read_bytes())
    Path(new.name).chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    os.replace(new.name, target)


def main(folder: str) -> int:
    """The init container."""
    busybox = shutil.which("busybox")
    if busybox is None:
        print("error: busybox is missing in this image; install busybox-static [starter-missing]", file=sys.stderr)  # noqa: T201  what the pod's log shows
        return os.EX_UNAVAILABLE
    try:
        prepare_volume(folder, busybox)
    except ExecutionError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return os.EX_UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else PACH))
