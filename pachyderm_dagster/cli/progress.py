"""How far long work is, on standard error: a bar on a terminal, a line now and then elsewhere, nothing for work that is done at once."""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pachyderm_dagster.cli.printing import show_size

QUIET_SECONDS = 1.0
BAR_SECONDS = 0.2
LINE_SECONDS = 5.0
WIDTH = 30


def show_count(number: int) -> str:
    """A number of things."""
    return f"{number:,}"


class Progress:
    """Draws from a thread of its own, so that work that says nothing for long is seen to go on too. A context manager.

    Args:
        label: what is being done: `put file`.
        total: how much there is; None when nobody knows.
        show: how an amount is written; bytes unless told otherwise.
        unit: what stands behind the amounts: `files`.
    """

    def __init__(self, label: str, total: int | None = None, *, show: Callable[[int], str] = show_size, unit: str = "") -> None:
        self._label, self._total, self._show, self._unit = label, total, show, f" {unit}" if unit else ""
        self._note = ""
        self._terminal = sys.stderr.isatty()
        self._amount = 0
        self._began = time.monotonic()
        self._drawn = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw_on, name=f"progress of {label}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if self._drawn:
            self._draw()
            if self._terminal:
                sys.stderr.write("\n")

    def advance(self, amount: int) -> None:
        """So much more is done."""
        self._amount += amount

    def reach(self, amount: int, total: int | None) -> None:
        """So much is done now, of so much."""
        self._amount, self._total = amount, total

    def tell(self, note: str) -> None:
        """What else there is to say."""
        self._note = note

    def _draw_on(self) -> None:
        pause = QUIET_SECONDS
        while not self._over.wait(pause):
            self._draw()
            pause = BAR_SECONDS if self._terminal else LINE_SECONDS

    def _draw(self) -> None:
        amount, total, note = self._amount, self._total, self._note
        words = [self._label + ":"]
        if total:
            part = min(amount / total, 1)
            words += [f"[{'=' * int(part * WIDTH):{WIDTH}}]"] if self._terminal else []
            words += [f"{part:4.0%}", f"{self._show(amount)} of {self._show(total)}{self._unit},"]
        elif amount:
            words.append(f"{self._show(amount)}{self._unit},")
        if note:
            words.append(f"{note},")
        line = f"{' '.join(words)} {time.monotonic() - self._began:.0f} s"
        sys.stderr.write(f"\r{line}{' ' * (len(self._drawn) - len(line))}" if self._terminal else f"{line}\n")
        sys.stderr.flush()
        self._drawn = line


class PutProgress(Progress):
    """How far a put is: files, when there are several, and bytes."""

    def __init__(self) -> None:
        super().__init__("put file", show=show_count, unit="files")
        self._files = self._expected = self._bytes = 0

    def expect(self, files: int, /) -> None:
        """So many files more were found."""
        self._expected += files

    def done(self, size: int, files: int, /) -> None:
        """So many bytes and files more were read."""
        self._bytes += size
        self._files += files
        self.tell(show_size(self._bytes))
        if self._expected > 1:
            self.reach(self._files, self._expected)
