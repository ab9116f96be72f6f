"""Changes to several branches that are made, or given up, together."""

import contextlib
import threading
from types import TracebackType
from typing import Self

from pachyderm_dagster.client.changes import FileChanges
from pachyderm_dagster.client.client import Client


class JoinedChanges:
    """Gathers changes until `end`, then makes one commit a branch. As a context manager it ends with the block and gives up when that raises.

    The commits of several branches are made one after the other: when one is refused, those before it stay.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._blocks = contextlib.ExitStack()
        self._changes: dict[str, FileChanges] = {}
        self._lock = threading.Lock()

    def changes(self, target: str) -> FileChanges:
        """What takes the changes to a branch or an open commit. Errors as `Client.modify_file`."""
        with self._lock:
            if target not in self._changes:
                self._changes[target] = self._blocks.enter_context(self._client.modify_file(target))
            return self._changes[target]

    def end(self, *, keep: bool) -> None:
        """Makes the commits, or gives everything up. Errors as `Client.modify_file`."""
        with contextlib.suppress(_GivenUp), self:
            if not keep:
                raise _GivenUp

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._blocks.__exit__(kind, error, traceback)


class _GivenUp(Exception):
    """Ends the blocks without their changes."""
