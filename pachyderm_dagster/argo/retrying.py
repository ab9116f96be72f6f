"""Whether and when a node is tried again."""

import re
from dataclasses import dataclass

from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.templates import RetryStrategy
from pachyderm_dagster.durations import parse_duration

POLICIES = ("OnFailure", "OnError", "OnTransientError", "Always")
_TRANSIENT = re.compile(r"timed? ?out|timeout|temporar|transient|connection (?:refused|reset)|unavailable|too many requests|EOF", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows a failed attempt: another one after so many seconds, or none, for a reason."""

    wait_seconds: float | None
    reason: str = ""


def decide(strategy: RetryStrategy, *, attempts: int, phase: Phase, message: str, seconds_since_first: float, expression_holds: bool) -> Decision:
    """What follows.

    Args:
        strategy: whose tags were replaced.
        attempts: how many there were, all failed.
        phase, message: of the last one.
        seconds_since_first: from the start of the first one to now.
        expression_holds: what `expression` came to; true when there is none.
    """
    if not expression_holds:
        return Decision(None, "retryStrategy.expression evaluated to false")
    if not policy_allows(strategy, phase, message):
        return Decision(None, message)
    if strategy.limit is not None and attempts > int(strategy.limit):
        return Decision(None, "No more retries left")
    wait = _wait(strategy, attempts)
    longest = strategy.backoff.max_duration if strategy.backoff else None
    if longest is not None and seconds_since_first + wait > to_seconds(longest):
        return Decision(None, "Max duration limit exceeded")
    return Decision(wait)


def policy_allows(strategy: RetryStrategy, phase: Phase, message: str) -> bool:
    """Whether an attempt that ended like this is one to be tried again."""
    match strategy.retry_policy or ("Always" if strategy.expression else "OnFailure"):
        case "Always":
            return True
        case "OnError":
            return phase is Phase.ERROR
        case "OnTransientError":
            return _TRANSIENT.search(message) is not None
        case _:
            return phase is Phase.FAILED


def _wait(strategy: RetryStrategy, attempts: int) -> float:
    backoff = strategy.backoff
    if backoff is None or backoff.duration is None:
        return 0.0
    wait = to_seconds(backoff.duration) * float(backoff.factor or 1) ** (attempts - 1)
    return min(wait, to_seconds(backoff.cap)) if backoff.cap is not None else wait


def to_seconds(text: str) -> float:
    """Seconds of a number of them, or of a Go duration.

    Raises:
        InvalidError: `duration-invalid`.
    """
    try:
        return float(text)
    except ValueError:
        return parse_duration(text)
