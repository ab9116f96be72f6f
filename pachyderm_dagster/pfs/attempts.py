"""Attempts at what other writers may overtake. Apart from what is written, so that whoever only asks the record loads nothing of that."""

import random
import time
from collections.abc import Iterator

from pachyderm_dagster.errors import ConflictError

ATTEMPTS = 100


def attempts(what: str) -> Iterator[int]:
    """Numbers the attempts at a write that others may overtake, with growing pauses between them.

    Raises:
        ConflictError: `branch-busy`, when there were too many.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0, min(0.02 * attempt, 1.0)))
        yield attempt
    raise ConflictError("branch-busy", f"{what} changed during each of {ATTEMPTS} attempts to write to it; try again when fewer write at the same time")
