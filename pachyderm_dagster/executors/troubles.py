"""What failed for a reason that may pass: told once, and tried again, the less often the longer it lasts."""

from collections.abc import Callable
from dataclasses import dataclass

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.executors.backoff import Backoff


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why something failed last, how many times in a row it has, and when it is due again."""

    reason: str
    times: int
    until: float


class Troubles:
    """What failed and has not gone well since, by name.

    Args:
        tell: takes lines for people.
        monotonic: seconds that only grow.
    """

    def __init__(self, rule: Backoff, tell: Callable[[str], None], monotonic: Callable[[], float]) -> None:
        self._rule, self._tell, self._monotonic = rule, tell, monotonic
        self._found: dict[str, _Trouble] = {}

    def is_due(self, what: str) -> bool:
        """Whether it did not fail a moment ago."""
        found = self._found.get(what)
        return found is None or found.until <= self._monotonic()

    def attempt(self, what: str, act: Callable[[], None]) -> None:
        """Does it. An error of the record, the store or the system is told, unless that is what it failed with before."""
        try:
            act()
        except (PachydermError, OSError) as error:
            before = self._found.get(what)
            times = 1 if before is None else before.times + 1
            self._found[what] = _Trouble(str(error), times, self._monotonic() + self._rule.wait(times))
            if before is None or before.reason != str(error):
                self._tell(f"{what}: {error}; this is tried again")
        else:
            self._found.pop(what, None)
