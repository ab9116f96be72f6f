from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.worker.output_log import OutputLog


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
