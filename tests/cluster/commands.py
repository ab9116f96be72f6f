"""Other programs, called so that a failure says what they said; and waiting for what they do."""

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.cluster.errors import ClusterError


def run(command: Sequence[str | Path], *, environ: Mapping[str, str] | None = None, folder: Path | None = None, input: str | None = None) -> str:
    """What a command printed; ClusterError with its last lines when it fails."""
    try:
        done = subprocess.run(command, env=environ, cwd=folder, input=input, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ClusterError(f"the program '{command[0]}' is missing; install it and try again") from error
    if done.returncode:
        raise ClusterError(f"'{' '.join(map(str, command))}' failed with status {done.returncode}:\n{last_lines(done.stdout + done.stderr)}")
    return done.stdout


def last_lines(text: str, number: int = 15) -> str:
    return "\n".join(text.rstrip().splitlines()[-number:])


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Whether a condition became true in that time; it is asked ten times a second."""
    deadline = time.monotonic() + seconds
    never = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        never.wait(0.1)
    return True
