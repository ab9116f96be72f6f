"""How long a process that ended waits until it is started again, and when it is said to crash."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Backoff:
    """The rule: the wait doubles with each failure in a row, and a process that ran for long enough has done well.

    Attributes:
        first, most: seconds to wait after the first failure, and at most.
        stable: seconds of running that wipe out the failures before.
        quick: an end before so many seconds of running is a failure, whatever the exit code: what is to stay did not.
        crashes: so many failures in a row are a crash.
    """

    first: float = 1.0
    most: float = 60.0
    stable: float = 30.0
    quick: float = 5.0
    crashes: int = 3

    def wait(self, failures: int) -> float:
        """Seconds until the next start after so many failures in a row; one that ended well counts as none."""
        return min(self.most, self.first * 2.0 ** min(max(0, failures - 1), 32))


@dataclass(frozen=True, slots=True)
class RestartHistory:
    """How the process of one pipeline has done.

    Attributes:
        failures: in a row.
        restarts: how often it was started again.
        reason: of its last end.
        is_crashing: whether it is said to crash.
    """

    failures: int = 0
    restarts: int = 0
    reason: str = ""
    is_crashing: bool = False

    def ended(self, rule: Backoff, *, ran: float, reason: str, failed: bool, not_started: bool) -> "RestartHistory":
        """After an end.

        Args:
            ran: seconds of the program.
            failed: whether it is to be called a failure; a program that ran for a while may end by itself, and well.
            not_started: it could not be started: that needs no second look to be a crash.
        """
        failed = failed or ran < rule.quick
        failures = (0 if ran >= rule.stable else self.failures) + 1 if failed else 0
        crashing = failed and (not_started or failures >= rule.crashes or (self.is_crashing and ran < rule.stable))
        return RestartHistory(failures, self.restarts + 1, reason, crashing)

    def runs(self, rule: Backoff, *, ran: float) -> "RestartHistory":
        """While it runs, since so many seconds."""
        return replace(self, failures=0, is_crashing=False) if (self.failures or self.is_crashing) and ran >= rule.stable else self
