"""Datum batching: one process for a set of datums, and what becomes of each when it fails, ends early or takes too long."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pachyderm_dagster.worker.protocol import DatumTask
from tests.worker.running import ROOT, Place, Ran, unprivileged

NEXT = "pachctl next datum"
COPY = f'echo started; while {NEXT}; do . /pfs/.env; cp "$data" /pfs/out/; echo "did $data"; done'


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def tasks_in_sets(place: Place, *sizes: int) -> list[DatumTask]:
    """Datums with a file each, in sets of these sizes."""
    numbers = [number for number, size in enumerate(sizes) for _ in range(size)]
    return [msgspec.structs.replace(place.task(index, {"data": {f"/{index}": b"%d" % index}}), datum_set=number) for index, number in enumerate(numbers)]


def run(place: Place, script: str, tasks: Sequence[DatumTask], **more: Any) -> list[Ran]:
    return place.run("sh", "-c", script, tasks=tasks, datum_batching=True, **more)


def run_python(place: Place, script: str) -> list[Ran]:
    """A datum whose code is this Python, with the package as it is here."""
    variables = {"PYTHONPATH": str(ROOT)}
    return place.run(sys.executable, "-c", script, tasks=tasks_in_sets(place, 1), variables=variables, datum_batching=True, datum_tries=1)


def test_one_process_does_the_datums_of_a_set(place: Place) -> None:
    results = run(place, COPY, tasks_in_sets(place, 3))
    assert [ran.outputs for ran in results] == [{f"/{index}": str(index)} for index in range(3)]
    assert [ran.log for ran in results] == ["started\ndid /pfs/data/0\n", "did /pfs/data/1\n", "did /pfs/data/2\n"]


def test_each_set_has_a_process_of_its_own(place: Place) -> None:
    results = run(place, COPY, tasks_in_sets(place, 2, 1))
    assert [ran.log.count("started") for ran in results] == [1, 0, 1]


def test_error_fails_a_try_and_the_same_process_goes_on(place: Place, tmp_path: Path) -> None:
    script = f"""
    echo started; {NEXT}
    while true; do
        . /pfs/.env; test -z "$(ls /pfs/out)" || exit 9; cp $data /pfs/out/
        if test $(cat $data) = 1 && ! test -e {tmp_path}/tried; then touch {tmp_path}/tried; {NEXT} --error 'not yet'; else {NEXT}; fi
    done"""
    results = run(place, script, tasks_in_sets(place, 3))
    assert [(ran.state, ran.tries) for ran in results] == [("SUCCESS", 1), ("SUCCESS", 2), ("SUCCESS", 1)]
    assert [ran.outputs for ran in results] == [{f"/{index}": str(index)} for index in range(3)]
    assert sum(ran.log.count("started") for ran in results) == 1


@pytest.mark.parametrize("character", ["x", "\x01", "é", "🦆"])
def test_long_error_is_cut_and_says_so(place: Place, character: str) -> None:
    script = f"import os; from pachyderm_dagster.worker.next_call import call_next; [call_next(os.environ, e) for e in (None, {character!r} * 200_000)]"
    [ran] = run_python(place, script)
    assert ran.reason == f"the code gave the datum up: {character * 10_000}… (the first 10,000 of 200,000 characters) [datum-error]"


def test_error_that_is_no_unicode_is_told(place: Place) -> None:
    script = "import os; from pachyderm_dagster.worker.next_call import call_next; [call_next(os.environ, e) for e in (None, 'bad \\udcff')]"
    [ran] = run_python(place, script)
    assert ran.reason == "the code gave the datum up: bad \\udcff [datum-error]"


def test_datum_whose_tries_all_fail_is_failed_and_the_next_one_runs(place: Place) -> None:
    script = f'{NEXT}; while true; do . /pfs/.env; if test $(cat $data) = 0; then {NEXT} --error "no 0"; else cp $data /pfs/out; {NEXT}; fi; done'
    results = run(place, script, tasks_in_sets(place, 2), datum_tries=2)
    assert [(ran.state, ran.tries, len(ran.outputs)) for ran in results] == [("FAILED", 2, 0), ("SUCCESS", 1, 1)]
    assert results[0].reason == "the code gave the datum up: no 0 [datum-error]"


def test_process_that_ends_before_the_end_of_its_set_fails_a_try_and_is_started_again(place: Place, tmp_path: Path) -> None:
    script = f"{NEXT}; . /pfs/.env; cp $data /pfs/out/; test -e {tmp_path}/second || {{ touch {tmp_path}/second; exit 0; }}; while {NEXT}; do :; done"
    results = run(place, script, tasks_in_sets(place, 2))
    assert [(ran.state, ran.tries) for ran in results] == [("SUCCESS", 2), ("SUCCESS", 1)]


def test_process_that_never_asks_fails_its_datums(place: Place) -> None:
    [ran] = run(place, "echo oops; exit 3", tasks_in_sets(place, 1), datum_tries=1)
    assert ran.reason == "'sh' ended with exit code 3 before it called `pachctl next datum`; its last output: oops [batch-ended]"


def test_process_out_of_time_is_stopped_and_started_again(place: Place, tmp_path: Path) -> None:
    script = f"while {NEXT}; do test -e {tmp_path}/second || {{ touch {tmp_path}/second; sleep 600; }}; done"
    results = run(place, script, tasks_in_sets(place, 2), datum_timeout=5.0)
    assert [(ran.state, ran.tries) for ran in results] == [("SUCCESS", 2), ("SUCCESS", 1)]


def test_error_command_recovers_a_datum_of_a_batch(place: Place) -> None:
    script = f"while {NEXT} ${{failed:+--error bad}}; do . /pfs/.env; failed=$(grep 0 $data); done"
    results = run(place, script, tasks_in_sets(place, 2), err_cmd=("true",))
    assert [ran.state for ran in results] == ["RECOVERED", "SUCCESS"]


def test_call_that_is_given_up_takes_no_datum(place: Place) -> None:
    script = f"timeout 0.01 {NEXT}; {COPY}"
    results = run(place, script, tasks_in_sets(place, 2))
    assert [ran.outputs for ran in results] == [{"/0": "0"}, {"/1": "1"}]


def test_what_a_process_holds_open_of_a_lazy_file_hangs_nothing(place: Place) -> None:
    large = b"0123456789abcdef" * (1 << 16)
    tasks = [
        msgspec.structs.replace(task, inputs=tuple(msgspec.structs.replace(file, lazy=True) for file in task.inputs), datum_set=0)
        for task in (place.task(index, {"data": {"/f": large}}) for index in range(2))
    ]
    results = run(place, f"{NEXT}; exec 3< /pfs/data/f; head -c 1 <&3; {NEXT}; exec 4< /pfs/data/f; head -c 1 <&4; {NEXT}", tasks)
    assert [(ran.state, ran.log) for ran in results] == [("SUCCESS", "0"), ("SUCCESS", "0")]


def test_two_workers_share_the_sets(place: Place) -> None:
    results = run(place, COPY, tasks_in_sets(place, 2, 2, 2, 2), parallelism=2)
    assert [ran.outputs for ran in results] == [{f"/{index}": str(index)} for index in range(8)]
    assert [ran.log.count("started") for ran in results] == [1, 0] * 4


def test_user_without_rights_takes_batches_too(place: Place) -> None:
    done = place.run_elsewhere(unprivileged(), "sh", "-c", COPY, inputs={"data": {"/a": b"x"}}, datum_batching=True)
    assert (done.ran.state, done.ran.outputs) == ("SUCCESS", {"/a": "x"})
