"""Opens the feeds of a trigger: the one place that chooses among them."""

import functools
from collections.abc import Callable
from typing import assert_never

from pachyderm_dagster.argo.event_buckets import BucketFeed, lister_of
from pachyderm_dagster.argo.event_calendars import CalendarFeed
from pachyderm_dagster.argo.event_commits import CommitFeed
from pachyderm_dagster.argo.event_feeds import Feed
from pachyderm_dagster.argo.event_sources import BucketSource, CalendarSource, GenericSource, WebhookSource, branch_of
from pachyderm_dagster.argo.events import Origin, commit_event
from pachyderm_dagster.argo.kept_requests import KeptRequests
from pachyderm_dagster.argo.sensors import Dependency
from pachyderm_dagster.argo.triggering import SensorTrigger
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.workspace import Workspace


def open_feeds(trigger: SensorTrigger, open_home: Callable[[], Workspace], clock: Clock) -> dict[str, Feed]:
    """The feeds of a trigger, by dependency.

    Args:
        open_home: opens the home, once; it is not asked for by clocks and buckets.

    Raises:
        NotFoundError: `workflow-secret-not-found`.
    """
    return {one.name: _feed(trigger, one, open_home, clock) for one in trigger.dependencies}


def _feed(trigger: SensorTrigger, dependency: Dependency, open_home: Callable[[], Workspace], clock: Clock) -> Feed:
    origin = Origin(dependency.event_source_name, dependency.event_name)
    match trigger.source_of(dependency):
        case CalendarSource() as calendar:
            return CalendarFeed(origin, calendar, clock)
        case BucketSource() as bucket:
            return BucketFeed(origin, bucket, lister_of(bucket, trigger.library.secrets))
        case WebhookSource(metadata=metadata):
            requests = KeptRequests(open_home(), origin)
            return CommitFeed(requests.workspace, requests.branch, functools.partial(requests.event_of, metadata=metadata))
        case GenericSource(metadata=metadata) as generic:
            return CommitFeed(open_home(), branch_of(generic), functools.partial(commit_event, origin, metadata=metadata))
        case other:
            assert_never(other)
