from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.worker.output_log import OutputLog
from pachyderm_dagster.worker.output_marks import Marks


def test_short_output_is_kept_as_it_is() -> None:
    log = OutputLog()
    log.write(b"one\n")
    log.write(b"two\n")
    assert log.content() == b"one\ntwo\n"


def test_beginning_and_end_of_long_output_are_kept_and_the_gap_is_named() -> None:
    log = OutputLog(head_bytes=4, tail_bytes=3)
    log.write(b"abcdefghijklmnop")
    head, note, tail = log.content().split(b"\n")
    assert (head, tail) == (b"abcd", b"nop")
    assert note.startswith(b"[9 bytes left out here: ")


@given(st.lists(st.binary(max_size=40)), st.integers(0, 20), st.integers(0, 20))
def test_kept_bytes_do_not_depend_on_how_output_was_cut(pieces: list[bytes], head_bytes: int, tail_bytes: int) -> None:
    log = OutputLog(head_bytes, tail_bytes)
    for piece in pieces:
        log.write(piece)
    everything = b"".join(pieces)
    left_out = max(0, len(everything) - head_bytes - tail_bytes)
    if left_out:
        content = log.content()
        assert content.startswith(everything[:head_bytes] + b"\n[%d bytes left out" % left_out)
        assert content.endswith(b"]\n" + everything[head_bytes + left_out :])
    else:
        assert log.content() == everything


def test_memory_is_bounded_for_output_in_single_bytes() -> None:
    log = OutputLog(head_bytes=100, tail_bytes=100)
    for _ in range(10_000):
        log.write(b"x")
    assert len(log._tail) <= 200


def test_last_lines_leave_out_empty_ones_and_survive_broken_utf8() -> None:
    log = OutputLog()
    log.write(b"first\nsecond\n\n  third\xff \n\n")
    assert log.last_lines(2) == "second | third\ufffd"


def test_last_lines_hold_no_nul() -> None:
    log = OutputLog()
    log.write(b"a\0b\n\0")
    assert log.last_lines() == "a\ufffdb | \ufffd"


def test_last_lines_of_no_output_are_empty() -> None:
    assert OutputLog().last_lines() == ""


def test_last_lines_are_those_of_the_last_try() -> None:
    log = OutputLog()
    log.write(b"of the first try\n")
    log.note("try 2 of 2")
    assert log.last_lines() == ""
    log.write(b"of the second\n")
    assert log.last_lines() == "of the second"
    assert log.content() == b"of the first try\n\n[try 2 of 2]\nof the second\n"


class Heard:
    """A listener that keeps what it was told."""

    after_seconds = 2.0

    def __init__(self) -> None:
        self.told: list[tuple[str, bytes]] = []

    def open(self, so_far: bytes) -> None:
        self.told.append(("open", so_far))

    def write(self, data: bytes) -> None:
        self.told.append(("write", data))

    def close(self) -> None:
        self.told.append(("close", b""))


def test_listener_is_told_once_of_a_datum_that_runs_long() -> None:
    now = [10.0]
    heard = Heard()
    log = OutputLog(listener=heard, now=lambda: now[0])
    log.write(b"a")
    log.tell()
    assert log.seconds_to_telling == 2.0
    now[0] = 12.0
    log.tell()
    log.tell()
    log.write(b"b")
    log.close()
    assert heard.told == [("write", b"a"), ("open", b"a"), ("write", b"b"), ("close", b"")]


def test_times_are_those_of_the_bytes_that_are_kept() -> None:
    now = [0.0]
    log = OutputLog(head_bytes=4, tail_bytes=4, now=lambda: now[0])
    for piece in (b"ab", b"cd", b"ef", b"gh", b"ij"):
        log.write(piece)
        now[0] += 0.5
    content = log.content()
    assert [content[place : place + 2] for place, _ in log.times()] == [b"ab", b"cd", b"gh", b"ij"]
    assert [time for _, time in log.times()] == [0, 500, 1500, 2000]


@given(st.lists(st.integers(0, 400), min_size=1, max_size=400), st.integers(1, 9))
def test_marks_are_few_and_in_order(gaps: list[int], most: int) -> None:
    marks = Marks(most)
    time = 0
    for offset, gap in enumerate(gaps):
        time += gap
        marks.add(offset, time)
    kept = marks.kept(range(0), 0)
    assert 1 <= len(kept) <= most
    assert kept[0] == (0, gaps[0])
    assert list(kept) == sorted(kept)
