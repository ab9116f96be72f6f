"""Word of changes: a hint that the record may have changed, for whoever waits for something in it and would otherwise ask again and again."""

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol


class Watcher(Protocol):
    """Waits for word of changes."""

    def wait(self, poll_seconds: float, longest_seconds: float) -> None:
        """Returns when something may have changed since it last returned, or since the watch began; the caller looks, and finds something or not.

        Args:
            poll_seconds: how long it takes where no word comes.
            longest_seconds: how long it takes at most where word does come: that is a hint, and may be lost.
        """
        ...


class Changes(Protocol):
    """Spreads word of changes among the processes of a home."""

    def announce(self) -> None:
        """Tells everybody that the record has changed. Nothing is raised: the change is done, and those who wait look by themselves sooner or later."""
        ...

    def watch(self) -> contextlib.AbstractContextManager[Watcher]:
        """A watch for the length of a `with` block, in which the caller looks, waits, and looks again."""
        ...


class Polling:
    """No word at all: whoever waits looks again and again. The embedded form, where a look costs little."""

    def announce(self) -> None:
        pass

    @contextlib.contextmanager
    def watch(self) -> Iterator[Watcher]:
        yield self

    def wait(self, poll_seconds: float, longest_seconds: float) -> None:
        time.sleep(poll_seconds)
