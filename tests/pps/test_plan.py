from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.pps.datums import Datums, DatumState, datum_table
from pachyderm_dagster.pps.inputs import leaf_key
from pachyderm_dagster.pps.plan import Plan, plan
from tests.pps.builders import branch, matches

DATA = branch("data")
BASE = pa.schema([("key", pa.string()), ("hash", pa.binary(32)), ("state", pa.uint8())])


@dataclass
class Pipeline:
    """A pipeline with glob `/*`, as its jobs see it: the base and the results of earlier jobs."""

    base: pa.Table = field(default_factory=BASE.empty_table)
    results: set[bytes] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)

    def plan(self, contents: Mapping[str, str], *, salt: str = "salt", every_job: bool = False) -> tuple[Datums, Plan]:
        now = datum_table(DATA, {leaf_key(DATA): matches(contents)}, salt)
        self.names |= {id: now.files(index)[0].path for index, id in enumerate(now.table["id"].to_pylist())}
        planned = plan(now, self.base, every_job=every_job)
        return now, planned.restore(pa.array([hash in self.results for hash in planned.hashes(planned.run).to_pylist()], pa.bool_()))

    def finish(self, now: Datums, planned: Plan, states: Mapping[str, DatumState]) -> None:
        """Ends the job: `states` by path say how those that ran ended."""
        good = [states[path] is DatumState.PROCESSED for path in self.paths(planned.ids(planned.run))]
        self.results |= {key for key, worked in zip(planned.hashes(planned.run).to_pylist(), good, strict=True) if worked}
        if DatumState.FAILED not in states.values():
            ended = dict(zip(planned.ids(planned.run).to_pylist(), self.paths(planned.ids(planned.run)), strict=True))
            kept = [states[ended[id]] if id in ended else DatumState.PROCESSED for id in now.table["id"].to_pylist()]
            self.base = pa.table([now.table["id"], now.table["hash"], pa.array(kept, pa.uint8())], schema=BASE)

    def paths(self, ids: pa.Array) -> list[str]:
        return [self.names[id] for id in ids.to_pylist()]


def job(pipeline: Pipeline, contents: Mapping[str, str], *, bad: Iterable[str] = (), salt: str = "salt") -> tuple[int, int, int, int]:
    """Runs one job: total, processed, skipped, failed."""
    now, planned = pipeline.plan(contents, salt=salt)
    ran = pipeline.paths(planned.ids(planned.run))
    states = {path: DatumState.FAILED if path in bad else DatumState.PROCESSED for path in ran}
    pipeline.finish(now, planned, states)
    failed = list(states.values()).count(DatumState.FAILED)
    return len(now), len(ran) - failed, len(planned.carry) + len(planned.restored), failed


def test_chain_of_jobs_skips_what_pachyderm_skips_and_more() -> None:
    pipeline = Pipeline()
    assert job(pipeline, {"/a": "1", "/b": "1"}) == (2, 2, 0, 0)
    assert job(pipeline, {"/a": "2", "/b": "1", "/c": "1"}) == (3, 2, 1, 0)
    assert job(pipeline, {"/a": "2", "/c": "1"}) == (2, 0, 2, 0)
    # Pachyderm runs b again, because the base does not hold it: 3 / 1 / 2 / 0. We restore it.
    assert job(pipeline, {"/a": "2", "/b": "1", "/c": "1"}) == (3, 0, 3, 0)
    five = {"/a": "2", "/b": "1", "/c": "1", "/d": "bad", "/f": "1"}
    # Pachyderm never comes to a, b and c and does not count them: 5 / 1 / 0 / 1.
    assert job(pipeline, five, bad=["/d"]) == (5, 1, 3, 1)
    # Pachyderm runs f again, because the job that ran it failed: 5 / 2 / 3 / 0. We restore it.
    assert job(pipeline, five | {"/d": "good"}) == (5, 1, 4, 0)
    # A new image changes nothing, a new salt everything.
    assert job(pipeline, five | {"/d": "good"}) == (5, 0, 5, 0)
    assert job(pipeline, five | {"/d": "good"}, salt="other") == (5, 5, 0, 0)
    renamed = {"/b": "1", "/c": "1", "/d": "good", "/e": "2", "/f": "1"}
    assert job(pipeline, renamed, salt="other") == (5, 1, 4, 0)


def test_datum_whose_file_is_gone_or_changed_leaves_the_base() -> None:
    pipeline = Pipeline()
    job(pipeline, {"/gone": "1", "/changed": "1", "/same": "1"})
    _, planned = pipeline.plan({"/changed": "2", "/same": "1", "/new": "1"})
    assert pipeline.paths(planned.ids(planned.carry)) == ["/same"]
    assert pipeline.paths(planned.ids(planned.run)) == ["/changed", "/new"]
    assert sorted(pipeline.paths(planned.drop)) == ["/changed", "/gone"]


def test_every_job_runs_all_and_restores_nothing() -> None:
    pipeline = Pipeline()
    contents = {"/a": "1", "/b": "1"}
    job(pipeline, contents)
    _, planned = pipeline.plan(contents, every_job=True)
    assert pipeline.paths(planned.ids(planned.run)) == ["/a", "/b"]
    assert (len(planned.carry), len(planned.restored)) == (0, 0)
    assert sorted(pipeline.paths(planned.drop)) == ["/a", "/b"]


def test_recovered_datum_runs_again() -> None:
    pipeline = Pipeline()
    now, planned = pipeline.plan({"/a": "1", "/b": "1"})
    pipeline.finish(now, planned, {"/a": DatumState.RECOVERED, "/b": DatumState.PROCESSED})
    _, again = pipeline.plan({"/a": "1", "/b": "1"})
    assert pipeline.paths(again.ids(again.run)) == ["/a"]
    assert pipeline.paths(again.drop) == ["/a"]


def test_reverted_file_is_restored_and_its_later_result_dropped() -> None:
    pipeline = Pipeline()
    for content in ("old", "new"):
        job(pipeline, {"/a": content})
    _, planned = pipeline.plan({"/a": "old"})
    assert (len(planned.run), len(planned.carry)) == (0, 0)
    assert pipeline.paths(planned.ids(planned.restored)) == pipeline.paths(planned.drop) == ["/a"]


CONTENTS = st.dictionaries(st.sampled_from(["/a", "/b", "/c", "/d", "/e"]), st.sampled_from(["1", "2"]))
COMMITS = st.lists(st.tuples(CONTENTS, st.sampled_from(["salt", "salt", "other"]), st.sampled_from([False, False, True])), min_size=1, max_size=6)


@given(COMMITS, st.data())
def test_plan_is_that_of_the_slow_model(commits: list[tuple[dict[str, str], str, bool]], data: st.DataObject) -> None:
    pipeline = Pipeline()
    base: dict[str, tuple[tuple[str, str], DatumState]] = {}  # path -> (content, salt), state
    results: set[tuple[str, str, str]] = set()  # path, content, salt
    for contents, salt, every_job in commits:
        now, planned = pipeline.plan(contents, salt=salt, every_job=every_job)
        carry = [] if every_job else [path for path in sorted(contents) if base.get(path) == ((contents[path], salt), DatumState.PROCESSED)]
        restored = [] if every_job else [path for path in sorted(contents) if path not in carry and (path, contents[path], salt) in results]
        run = [path for path in sorted(contents) if path not in carry and path not in restored]
        assert pipeline.paths(planned.ids(planned.carry)) == carry
        assert pipeline.paths(planned.ids(planned.restored)) == restored
        assert pipeline.paths(planned.ids(planned.run)) == run
        assert sorted(pipeline.paths(planned.drop)) == sorted(path for path in base if path not in carry)

        states = {path: data.draw(st.sampled_from(DatumState)) for path in run}
        pipeline.finish(now, planned, states)
        results |= {(path, contents[path], salt) for path, state in states.items() if state is DatumState.PROCESSED}
        if DatumState.FAILED not in states.values():
            base = {path: ((content, salt), states.get(path, DatumState.PROCESSED)) for path, content in contents.items()}
