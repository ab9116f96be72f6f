"""The pods of a run as they are now, for the coroutines that wait for them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from pachyderm_dagster.executors.kubernetes.cluster import PODS, Cluster
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.executors.kubernetes.watching import Watched


class PodWatch:
    """Follows them."""

    def __init__(self, cluster: Cluster, selector: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._watched = Watched(cluster, PODS, selector, self._changed_there, asks_again=True)
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator["PodWatch"]:
        """Follows them for a block."""
        following = contextlib.ExitStack()
        following.enter_context(self._watched)
        try:
            yield self
        finally:
            # Its end waits for a thread.
            await asyncio.to_thread(following.close)

    def find(self, name: str, uid: str) -> Manifest | None:
        """A pod as it was seen last; None when it is not there, or was not seen yet.

        Raises:
            PachydermError: what keeps pods from being followed, before they were seen once.
        """
        found = self._watched.find(name)
        return found if found is not None and found["metadata"]["uid"] == uid else None

    def is_listed(self) -> bool:
        """Whether they are followed. Raises as `find`."""
        return self._watched.is_listed()

    async def change(self, seconds: float) -> None:
        """Waits until something changed, but no longer than so many seconds."""
        changed = self._changed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await changed.wait()

    def _changed_there(self) -> None:
        # The loop is closed when the last words come late.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._note)

    def _note(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
