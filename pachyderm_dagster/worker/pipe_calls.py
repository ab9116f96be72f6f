"""How user code in another container asks for its next datum: by two named pipes, which a shell script can use too."""

import contextlib
import os
import select
from dataclasses import dataclass
from typing import Self

CALLS, REPLIES = "calls", "replies"
PIPES_VARIABLE = "PACH_DATUM_PIPES"
"""Names the folder of the pipes to user code."""
MOST_CALL_BYTES = 4096
"""So much a pipe takes as a whole."""
_READ_BYTES = 1 << 16
_REPLY_BYTES = 64


@dataclass(frozen=True, slots=True)
class PipeCall:
    """A line `CALLER ERROR`, which is answered by a line `CALLER`."""

    replies: int
    caller: str
    error: str | None

    def answer(self) -> bool:
        # A caller that was killed left its answer.
        _drain(self.replies)
        os.write(self.replies, f"{self.caller}\n".encode())
        return True

    def drop(self) -> None:
        """The caller has ended."""


class PipeCalls:
    """Calls by pipes, which are closed at the end of a `with` block.

    Args:
        folder: where they are made; user code finds them there.
        search_path: of user code, with the folder of a `pachctl` behind it.
    """

    def __init__(self, folder: str, search_path: str) -> None:
        self.variables = {PIPES_VARIABLE: folder, "PATH": search_path}
        for name in (CALLS, REPLIES):
            with contextlib.suppress(FileExistsError):
                os.mkfifo(f"{folder}/{name}")
            os.chmod(f"{folder}/{name}", 0o666)
        # For reading and writing: no side waits for the other to open a pipe.
        self._calls, self._replies = (os.open(f"{folder}/{name}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC) for name in (CALLS, REPLIES))
        self.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._calls)
        os.close(self._replies)

    def fileno(self) -> int:
        return self._calls

    def accept(self) -> PipeCall | None:
        # More than one line: all but the last came from what user code ended itself.
        *_, line = b"\n", *_drain(self._calls).splitlines()
        caller, _, error = line.decode(errors="replace").partition(" ")
        return PipeCall(self._replies, caller, error.strip() or None) if caller.isdecimal() else None

    def forget(self) -> None:
        _drain(self._calls)
        _drain(self._replies)


def call_by_pipes(folder: str, error: str | None) -> None:
    """Calls, and returns when the next datum is in place.

    Raises:
        OSError: nobody is there to answer.
    """
    caller = str(os.getpid())
    # Without waiting: the worker has it open as long as it lives.
    calls = os.open(f"{folder}/{CALLS}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    replies = os.open(f"{folder}/{REPLIES}", os.O_RDWR | os.O_CLOEXEC)
    try:
        words = caller if error is None else f"{caller} {' '.join(error.split()) or 'failed'}"
        os.write(calls, words.encode(errors="backslashreplace")[: MOST_CALL_BYTES - 1] + b"\n")
        while os.read(replies, _REPLY_BYTES).decode().strip() != caller:
            pass
    finally:
        os.close(calls)
        os.close(replies)


def _drain(pipe: int) -> bytes:
    """What is in a pipe now."""
    found = b""
    while select.select([pipe], [], [], 0)[0]:
        found += os.read(pipe, _READ_BYTES)
    return found
