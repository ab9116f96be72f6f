"""What feeds of events have in common: each tells what has happened since somebody looked."""

from dataclasses import dataclass
from typing import Protocol

from pachyderm_dagster.argo.events import Event


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """An event of a feed, and a short text by which the feed finds it again."""

    reference: str
    event: Event


class Feed(Protocol):
    """The events of one source, in their order. Positions are texts that only the feed reads."""

    def begin(self) -> str:
        """The position behind all that has happened."""
        ...

    def after(self, position: str, most: int) -> tuple[list[FeedEvent], str]:
        """What happened behind a position, at most so much, and the position behind that."""
        ...

    def find(self, reference: str) -> Event | None:
        """An event again; None when what it was of has been removed."""
        ...
