import os
from pathlib import Path

import pytest

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.worker.pipe_calls import CALLS, REPLIES, PipeCalls, call_by_pipes
from pachyderm_dagster.worker.pod_state import PodState, Running, Starts
from pachyderm_dagster.worker.protocol import DatumTask
from pachyderm_dagster.worker.run import Command
from pachyderm_dagster.worker.starter import is_static, prepare_volume
from pachyderm_dagster.worker.starter_runner import StarterRunner
from tests.worker.pods import BUSYBOX, needs_pods

TASK = DatumTask("ab" * 32, 5, ())


def elf(*program_headers: int, is_64: bool = True, order: str = "little") -> bytes:
    """The beginning of a program with segments of these types."""

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, "little" if order == "little" else "big")

    start, size = (64, 56) if is_64 else (52, 32)
    ident = b"\x7fELF" + bytes([2 if is_64 else 1, 1 if order == "little" else 2, 1]) + bytes(9)
    rest = bytearray(start - 16)
    at_start, at_size, at_count, width = (32, 54, 56, 8) if is_64 else (28, 42, 44, 4)
    rest[at_start - 16 : at_start - 16 + width] = number(start, width)
    rest[at_size - 16 : at_size - 14] = number(size, 2)
    rest[at_count - 16 : at_count - 14] = number(len(program_headers), 2)
    return ident + bytes(rest) + b"".join(number(kind, 4) + bytes(size - 4) for kind in program_headers)


@pytest.mark.parametrize("is_64", [True, False])
@pytest.mark.parametrize("order", ["little", "big"])
def test_a_program_that_names_an_interpreter_is_not_static(is_64: bool, order: str) -> None:
    assert is_static(elf(1, 2, 6, is_64=is_64, order=order))
    assert not is_static(elf(6, 3, 1, is_64=is_64, order=order))


def test_a_script_is_no_static_program() -> None:
    assert not is_static(b"#!/bin/sh\n")


def test_a_busybox_that_needs_libraries_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "busybox"
    program.write_bytes(elf(3))
    with pytest.raises(ExecutionError, match="starter-missing"):
        prepare_volume(str(tmp_path / "pach"), str(program))


@needs_pods
def test_a_volume_is_prepared_twice_without_harm(tmp_path: Path) -> None:
    assert BUSYBOX is not None
    for _ in range(2):
        prepare_volume(str(tmp_path), BUSYBOX)
    assert (tmp_path / "run" / "tries").is_fifo()
    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == ["busybox", "leave", "memory", "next", "runner", "starter"]
    assert os.access(tmp_path / "bin" / "next" / "pachctl", os.X_OK)


@needs_pods
def test_a_try_that_is_still_read_is_not_written_over_by_the_next(tmp_path: Path) -> None:
    assert BUSYBOX is not None
    prepare_volume(str(tmp_path), BUSYBOX)
    with (tmp_path / "run" / "answers").open("r+b", buffering=0):  # a starter that says nothing
        runner = StarterRunner(str(tmp_path / "run"))
        runner.start(Command(("echo", "short"), (), "/dev/null", "/", "", None), {})
        with (tmp_path / "run" / "try").open() as first:
            runner.start(Command(("echo", "something longer"), (), "/dev/null", "/", "", None), {})
            read = first.read()
    assert ("short" in read, "longer" in read) == (True, False)
    assert "longer" in (tmp_path / "run" / "try").read_text()


def test_the_datum_that_ran_is_found_by_the_next_worker(tmp_path: Path) -> None:
    state = PodState(str(tmp_path))
    assert state.find_left() is None
    state.begin("job-1", TASK)
    assert PodState(str(tmp_path)).find_left() == Running("job-1", 5, "ab" * 32)
    state.end()
    assert PodState(str(tmp_path)).find_left() is None


def test_starts_are_counted_and_those_in_vain_until_a_datum_is_answered(tmp_path: Path) -> None:
    assert [PodState(str(tmp_path)).count_start() for _ in range(3)] == [Starts(0, 0), Starts(1, 1), Starts(2, 2)]
    PodState(str(tmp_path)).forget_vain()
    assert PodState(str(tmp_path)).count_start() == Starts(3, 0)
    assert PodState(str(tmp_path)).count_start() == Starts(4, 1)


def test_the_last_call_is_the_one_that_counts(tmp_path: Path) -> None:
    calls = PipeCalls(str(tmp_path), "/bin")
    assert calls.variables == {"PACH_DATUM_PIPES": str(tmp_path), "PATH": "/bin"}
    for text in ("11", "12 it's bad"):
        (tmp_path / CALLS).write_text(f"{text}\n")
    found = calls.accept()
    assert found is not None
    assert (found.caller, found.error) == ("12", "it's bad")


def test_what_is_no_call_is_none(tmp_path: Path) -> None:
    calls = PipeCalls(str(tmp_path), "/bin")
    (tmp_path / CALLS).write_bytes(b"\xff\xfe hello\n")
    assert calls.accept() is None


def test_an_answer_that_nobody_took_is_not_given_to_the_next_caller(tmp_path: Path) -> None:
    calls = PipeCalls(str(tmp_path), "/bin")
    replies = os.open(tmp_path / REPLIES, os.O_RDWR)
    for caller in ("11", "12"):
        (tmp_path / CALLS).write_text(f"{caller}\n")
        found = calls.accept()
        assert found is not None and found.answer()
    assert os.read(replies, 100) == b"12\n"
    os.close(replies)


def test_calls_of_a_process_that_was_ended_are_forgotten(tmp_path: Path) -> None:
    calls = PipeCalls(str(tmp_path), "/bin")
    (tmp_path / CALLS).write_text("11\n")
    calls.forget()
    (tmp_path / CALLS).write_text("12\n")
    found = calls.accept()
    assert found is not None and found.caller == "12"


def test_nobody_to_call_is_an_error(tmp_path: Path) -> None:
    for name in (CALLS, REPLIES):
        os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match="No such device"):
        call_by_pipes(str(tmp_path), None)
