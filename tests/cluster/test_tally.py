"""What a series of kills says of itself, and where it goes on."""

from pathlib import Path

from tests.cluster.tally import Round, Sum, add_round, due, read_rounds, sums

KINDS = ["pod", "driver", "etcd"]
WELL = Round("store", 2000, ["driver", "pod", "etcd"], [10, 500, 900], 60.5, 2)
TOO_LATE = Round("store", 2000, ["etcd", "pod", "driver"], [1000], 30.0, 1)
WRONG = Round("store", 2000, ["pod", "etcd"], [700], 90.0, 1, "Traceback")


def test_series_goes_on_behind_a_line_that_was_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "kills.jsonl"
    assert read_rounds(file, "store") == []
    add_round(file, WELL)
    add_round(file, Round("etcd", 2000, ["pod"], [5]))
    with file.open("ab") as stream:
        stream.write(b'{"claims":"store","dat')
    assert read_rounds(file, "store") == [WELL]
    add_round(file, TOO_LATE)
    assert read_rounds(file, "store") == [WELL, TOO_LATE]


def test_kinds_that_came_too_rarely_are_due_the_rarest_first() -> None:
    assert due([], KINDS, 1) == KINDS
    assert due([WELL], KINDS, 1) == []
    assert due([WELL, TOO_LATE], KINDS, 2) == ["pod", "driver"]
    assert due([WELL, TOO_LATE], KINDS, 3) == ["pod", "driver", "etcd"]


def test_kind_whose_job_failed_before_it_came_is_not_due_again() -> None:
    assert due([WRONG], KINDS, 1) == ["driver"]


def test_sum_counts_what_came_in_the_middle_and_in_which_jobs_it_went_wrong() -> None:
    assert list(sums([WELL, TOO_LATE, WRONG], KINDS)) == [Sum("pod", 2, 1, 1), Sum("driver", 1, 0, 1), Sum("etcd", 2, 0, 0)]
