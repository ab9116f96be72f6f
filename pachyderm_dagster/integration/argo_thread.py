"""A coroutine in a thread of its own, so that the step's own thread can tell of it, and is the one that a signal interrupts."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class InThread(Generic[T]):
    """Runs a coroutine at once."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._done, self._begun = threading.Event(), threading.Event()
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="workflow", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result.append(asyncio.run(self._main()))
        except BaseException as error:  # noqa: BLE001  it is raised where the result is asked for
            self._error = error
        finally:
            self._begun.set()
            self._done.set()

    async def _main(self) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._loop, self._task = asyncio.get_running_loop(), task
        self._begun.set()
        return await self._coroutine

    def wait(self, seconds: float) -> bool:
        """Waits for so long; whether it has ended."""
        return self._done.wait(seconds)

    def cancel(self) -> None:
        """Cancels it, and waits for its end."""
        self._begun.wait()
        with contextlib.suppress(RuntimeError):
            # Its loop is closed when it has just ended.
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._done.wait()

    def result(self) -> T:
        """What it returned, after its end; what it raised is raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result[0]
