"""What removes what runs left, in a thread behind them: it may take longer than the runs, and nobody waits for it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class Removals:
    """Calls what it is given, one after another, in a thread of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="remove")

    def __call__(self, work: Callable[[], None]) -> None:
        """Takes one more; after `close` it is done at once."""
        try:
            self._thread.submit(work)
        except RuntimeError:
            work()  # a run that ends after its executor

    def close(self) -> None:
        """Waits until all is done."""
        self._thread.shutdown()
