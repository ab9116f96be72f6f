"""What a trigger asks for when its events have come: each event, or each set of them, starts its workflow once."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from pachyderm_dagster.argo.depends import Both, Depends, Either, Name, names_in
from pachyderm_dagster.argo.event_checking import condition_of
from pachyderm_dagster.argo.event_feeds import Feed, FeedEvent
from pachyderm_dagster.argo.event_filters import why_left_out
from pachyderm_dagster.argo.event_parameters import Given, given_by
from pachyderm_dagster.argo.event_sources import AnySource, BucketSource
from pachyderm_dagster.argo.events import Event, event_id
from pachyderm_dagster.argo.expressions import evaluate
from pachyderm_dagster.argo.functions import functions
from pachyderm_dagster.argo.library import Library
from pachyderm_dagster.argo.sensors import Dependency
from pachyderm_dagster.argo.workflows import Sensor, Workflow
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import InvalidError


class Progress(msgspec.Struct, frozen=True):
    """How far a trigger has come.

    Attributes:
        positions: of the feeds of its dependencies, by what these are of; one that becomes another begins anew.
        held: references of events that wait for others, by dependency.
    """

    positions: dict[str, str] = {}
    held: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A workflow that is to be started.

    Attributes:
        key: the same for the same events.
        given: what the events give to it.
    """

    key: str
    given: Given


@dataclass(frozen=True, slots=True)
class LookResult:
    """What came of a look.

    Attributes:
        notes: what was left out, and why.
    """

    progress: Progress
    requests: Sequence[StartRequest]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class SensorTrigger:
    """A trigger of a Sensor.

    Attributes:
        index: which one.
        library: the EventSources, and the Secrets that they name.
    """

    sensor: Sensor
    index: int
    library: Library

    @property
    def name(self) -> str:
        """The Sensor's and its own."""
        return f"{self.sensor.metadata.name or self.sensor.metadata.base_name}-{self.sensor.spec.triggers[self.index].template.name}"

    @property
    def workflow(self) -> Workflow:
        """What it starts."""
        return self.sensor.workflows[self.index]

    @property
    def condition(self) -> Depends:
        """After which events."""
        return condition_of(self.sensor.spec.triggers[self.index].template, [one.name for one in self.sensor.spec.dependencies])

    @property
    def dependencies(self) -> list[Dependency]:
        """Those of its condition."""
        names = names_in(self.condition)
        return [one for one in self.sensor.spec.dependencies if one.name in names]

    def source_of(self, dependency: Dependency) -> AnySource:
        """What makes the events of a dependency."""
        found = self.library.event_sources[dependency.event_source_name].find(dependency.event_name)
        assert found is not None
        return found

    def feed_name(self, dependency: Dependency) -> str:
        """What the feed of a dependency is of."""
        return f"{dependency.name}: {type(self.source_of(dependency)).__name__} {dependency.event_source_name}/{dependency.event_name}"

    def why_left_out(self, dependency: Dependency, event: Event, clock: Clock) -> str | None:
        """Why an event of a dependency does not count; None when it does."""
        source = self.source_of(dependency)
        expression = "" if isinstance(source, BucketSource) or source.filter is None else source.filter.expression
        try:
            if expression and evaluate(expression, event.data, functions(clock)) is not True:
                return f"{expression!r} of its source is not true"
        except InvalidError as error:
            return error.message
        return why_left_out(dependency, event, clock)

    def request_for(self, events: Mapping[str, Event], clock: Clock) -> StartRequest:
        """The workflow that these events, by their dependencies, start.

        Raises:
            InvalidError: `event-value-missing`.
        """
        starts = self.sensor.spec.triggers[self.index].template.starts
        ids = [events[name].context.id for name in sorted(events)]
        given = given_by(starts.parameters if starts else (), self.workflow, events, clock)
        return StartRequest(ids[0] if len(ids) == 1 else event_id(*ids), given)


def begin(trigger: SensorTrigger, feeds: Mapping[str, Feed]) -> Progress:
    """Where a trigger begins: what has happened before starts nothing."""
    return Progress({trigger.feed_name(one): feeds[one.name].begin() for one in trigger.dependencies})


def look(trigger: SensorTrigger, feeds: Mapping[str, Feed], progress: Progress, clock: Clock, *, check: Callable[[Given], None], most: int) -> LookResult:
    """What has happened since the last look, and what it starts.

    Args:
        feeds: by dependency.
        check: raises InvalidError for what cannot be given to the workflow.
        most: how much is taken of a feed at once.
    """
    positions: dict[str, str] = {}
    taken = _Taken(trigger, feeds, clock, check)
    news: list[tuple[Dependency, FeedEvent]] = []
    for dependency in trigger.dependencies:
        name, feed = trigger.feed_name(dependency), feeds[dependency.name]
        if name not in progress.positions:
            positions[name] = feed.begin()
            continue
        found, positions[name] = feed.after(progress.positions[name], most)
        news += [(dependency, one) for one in found]
        if dependency.name in progress.held:
            taken.held[dependency.name] = progress.held[dependency.name]
    for dependency, one in sorted(news, key=lambda pair: pair[1].event.context.time):
        taken.add(dependency, one)
    return LookResult(Progress(positions, taken.held), taken.requests, taken.notes)


@dataclass(slots=True)
class _Taken:
    """What comes of events, taken one after another in the order of their times."""

    trigger: SensorTrigger
    feeds: Mapping[str, Feed]
    clock: Clock
    check: Callable[[Given], None]
    held: dict[str, str] = field(default_factory=dict)
    requests: list[StartRequest] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, dependency: Dependency, found: FeedEvent) -> None:
        """One more: it is left out, waits for others, or starts the workflow with those that waited for it."""
        reason = self.trigger.why_left_out(dependency, found.event, self.clock)
        if reason is not None:
            self.notes.append(f"an event of {dependency.name} is left out: {reason}")
            return
        self.held[dependency.name] = found.reference
        if not self._is_complete():
            return
        events = _events(self.held, self.feeds, dependency.name, found.event)
        if removed := sorted(self.held.keys() - events.keys()):
            self.notes.append(f"what {' and '.join(removed)} waited with has been removed")
            self.held = {name: reference for name, reference in self.held.items() if name in events}
            if not self._is_complete():
                return
        self.held = {}
        self._start(events)

    def _is_complete(self) -> bool:
        return _holds(self.trigger.condition, self.held)

    def _start(self, events: Mapping[str, Event]) -> None:
        try:
            request = self.trigger.request_for(events, self.clock)
            self.check(request.given)
        except InvalidError as error:
            self.notes.append(f"nothing is started for {_named(events)}: {error.message}")
        else:
            self.requests.append(request)


def _events(held: Mapping[str, str], feeds: Mapping[str, Feed], newest: str, event: Event) -> dict[str, Event]:
    """Those that are still there."""
    found = {name: event if name == newest else feeds[name].find(reference) for name, reference in held.items()}
    return {name: one for name, one in found.items() if one is not None}


def _named(events: Mapping[str, Event]) -> str:
    return " and ".join(f"event {one.context.id[:12]} of {name}" for name, one in events.items())


def _holds(condition: Depends, there: Collection[str]) -> bool:
    match condition:
        case Name(name):
            return name in there
        case Both(left, right):
            return _holds(left, there) and _holds(right, there)
        case Either(left, right):
            return _holds(left, there) or _holds(right, there)
        case _:
            # `check_sensor` lets no other through.
            return False
