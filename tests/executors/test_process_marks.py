"""Processes are known again by number and start, and ended with their session."""

import subprocess
import sys

import msgspec

from pachyderm_dagster.executors.process_marks import ProcessMark, end_session, is_alive, mark_of


def sleeper(script: str = "") -> "subprocess.Popen[str]":
    """A process of a session of its own, which has begun."""
    code = f"import signal, time\n{script}\nprint('up', flush=True)\ntime.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_process_that_was_killed_is_not_alive() -> None:
    with sleeper() as process:
        mark = mark_of(process.pid)
        assert mark is not None
        assert is_alive(mark)
        process.kill()
        process.wait()
        assert not is_alive(mark)
        assert mark_of(process.pid) is None


def test_another_process_of_the_same_number_is_not_the_one_that_was_marked() -> None:
    with sleeper() as process:
        mark = mark_of(process.pid)
        assert mark is not None
        other = ProcessMark(mark.pid, mark.start - 1)
        assert not is_alive(other)
        assert not end_session(other, seconds=0.0)
        assert process.poll() is None
        process.kill()


def test_session_is_ended_and_killed_when_it_does_not_end() -> None:
    for script, status in (("", -15), ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", -9)):
        with sleeper(script) as process:
            mark = mark_of(process.pid)
            assert mark is not None
            assert end_session(mark, seconds=0.2)
            assert process.wait() == status


def test_process_of_another_machine_or_container_with_the_same_number_is_not_seen_from_here() -> None:
    with sleeper() as process:
        mark = mark_of(process.pid)
        assert mark is not None
        assert mark.is_here
        assert mark.place
        other = ProcessMark(mark.pid, mark.start, "another boot/1")
        assert (other.is_here, is_alive(other), end_session(other, seconds=0.0)) == (False, False, False)
        assert process.poll() is None
        process.kill()


def test_mark_that_was_written_before_places_were_is_one_of_here() -> None:
    with sleeper() as process:
        mark = mark_of(process.pid)
        assert mark is not None
        assert is_alive(msgspec.json.decode(f'{{"pid":{mark.pid},"start":{mark.start}}}', type=ProcessMark))
        process.kill()
