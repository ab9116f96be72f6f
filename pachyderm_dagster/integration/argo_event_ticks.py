"""A tick of a sensor that waits for events: what has happened since the last one, and the runs that it asks for."""

import contextlib
import functools
import os

import dagster as dg
import msgspec

from pachyderm_dagster.argo.open_feeds import open_feeds
from pachyderm_dagster.argo.triggering import Progress, begin, look
from pachyderm_dagster.integration.argo_triggers import TriggeredJob
from pachyderm_dagster.workspace import Workspace, open_workspace

MOST_EVENTS = 100
"""So many events of a source are taken at once; the rest by the next tick."""
_MOST_NOTES = 20


def tick(triggered: TriggeredJob, context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Looks at what has happened. Dagster keeps the cursor together with the runs that are asked for, so that a tick that is lost is made again as a whole.

    Raises:
        PachydermError: what `open_workspace` raises; UnreachableError `event-bucket-unreachable`. The next tick tries again.
    """
    with contextlib.ExitStack() as stack:

        @functools.cache
        def open_home() -> Workspace:
            workspace = open_workspace(os.environ if triggered.environ is None else triggered.environ)
            stack.callback(workspace.close)
            return workspace

        feeds = open_feeds(triggered.trigger, open_home, triggered.clock)
        if not context.cursor:
            found = begin(triggered.trigger, feeds)
            return dg.SensorResult(skip_reason="What happens from now on counts.", cursor=_encoded(found))
        before = msgspec.json.decode(context.cursor, type=Progress)
        looked = look(triggered.trigger, feeds, before, triggered.clock, check=triggered.check, most=MOST_EVENTS)
    for note in looked.notes[:_MOST_NOTES]:
        context.log.warning(note)
    cursor = _encoded(looked.progress)
    if not looked.requests:
        waiting = ", ".join(sorted(looked.progress.held))
        reason = "; ".join(looked.notes[:3]) or (f"Waits for other events than of {waiting}." if waiting else "Nothing has happened.")
        return dg.SensorResult(skip_reason=reason, cursor=cursor)
    return dg.SensorResult(run_requests=[triggered.request(one) for one in looked.requests], cursor=cursor)


def _encoded(progress: Progress) -> str:
    return msgspec.json.encode(progress).decode()
