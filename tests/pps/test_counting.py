"""Counters of a job over its attempts."""

import dataclasses
import itertools

from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.pps.counting import begin, keep_up
from pachyderm_dagster.pps.model import Counters


def test_attempt_begins_with_its_own_datums_and_all_the_work_before() -> None:
    before = Counters(data_total=9, data_processed=4, data_skipped=3, data_failed=2, download_bytes=100, process_seconds=7.5)
    now = begin(before, total=9, skipped=3, processed=3)
    assert now == Counters(data_total=9, data_processed=3, data_skipped=3, download_bytes=100, process_seconds=7.5)
    assert keep_up(before, now) == before


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(0, 5))
def test_what_is_shown_never_runs_backwards_over_a_restart(ended: list[int], saved: int) -> None:
    before = Counters(data_total=10, data_processed=sum(ended[:1]), data_failed=1, upload_bytes=50)
    now = begin(before, total=10, skipped=0, processed=min(saved, before.data_processed))
    shown = [before, keep_up(before, now)]
    for more in ended:
        now = dataclasses.replace(now, data_processed=now.data_processed + more, upload_bytes=now.upload_bytes + 1)
        shown.append(keep_up(before, now))
    for earlier, later in itertools.pairwise(shown):
        assert all(getattr(earlier, name) <= getattr(later, name) for name in ("data_processed", "data_failed", "upload_bytes"))
