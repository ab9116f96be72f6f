"""What belongs to one process: a forked child has a copy of it, with the same ids, and may neither go on with it nor end it."""

import os

from pachyderm_dagster.errors import StateError


class OwnProcess:
    """Remembers the process that made it."""

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        self._pid = os.getpid()

    @property
    def is_ours(self) -> bool:
        """Whether this is still that process."""
        return os.getpid() == self._pid

    def check(self) -> None:
        """Refuses to go on in a forked child.

        Raises:
            StateError: `writer-forked`.
        """
        if not self.is_ours:
            raise StateError(
                "writer-forked",
                f"this write was begun by process {self._pid} and cannot go on, or end, in process {os.getpid()}, forked from it; begin one there",
            )
