"""The counters of a job over its attempts: what people see of an unfinished job never runs backwards."""

import dataclasses

from pachyderm_dagster.pps.model import Counters


def begin(before: Counters, *, total: int, skipped: int, processed: int) -> Counters:
    """The counters of an attempt that begins: of its datums, and of all the work that attempts before it did.

    Args:
        before: as an attempt that was killed left them; all 0 at the first one.
        skipped: datums whose result another job left.
        processed: datums whose result an attempt before left.
    """
    return dataclasses.replace(before, data_total=total, data_skipped=skipped, data_processed=processed, data_failed=0, data_recovered=0)


def keep_up(before: Counters, now: Counters) -> Counters:
    """What is shown of an unfinished job: each counter of `now`, or of the attempt before as long as that had come further."""
    values = {field.name: max(getattr(before, field.name), getattr(now, field.name)) for field in dataclasses.fields(Counters)}
    return Counters(**values)
