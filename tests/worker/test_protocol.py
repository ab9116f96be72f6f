import io

import pytest

from pachyderm_dagster.errors import ExecutionError, InvalidError, NotFoundError, PachydermError, StorageError, UnreachableError
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.file_columns import FileColumns
from pachyderm_dagster.storage.objects import Ref
from pachyderm_dagster.worker.protocol import (
    Answer,
    DatumResult,
    DatumTask,
    InputFile,
    ResultState,
    WorkerReady,
    WorkerRefused,
    WorkerSetup,
    encode,
    read_setup,
    read_task,
    take_answers,
)

CONTENT = Content(b"h" * 32, 7, (Ref(b"o" * 32, 3, 7),))
TASK = DatumTask("ab" * 32, 5, (InputFile("data", "/a", True, (("/a/ü", CONTENT),)),), {"PACH_DATUM_ID": "ab" * 32})
ANSWERS: list[Answer] = [
    WorkerReady("/pfs", None),
    WorkerRefused("StorageError", "storage-format", "another version wrote it"),
    DatumResult(id="ab" * 32, index=5, state=ResultState.SUCCESS, outputs=FileColumns.of([("/x", CONTENT)]), tries=1, exit_code=0, log=CONTENT),
]


def test_setup_and_tasks_arrive_as_they_were_sent() -> None:
    setup = WorkerSetup(store_url="memory://", scratch="/s", cmd=("cp", "a"), stdin=("x",), datum_timeout=1.5)
    stream = io.BytesIO(encode(setup) + encode(TASK) + encode(TASK))
    assert read_setup(stream) == setup
    assert read_task(stream) == TASK
    assert read_task(stream) == TASK
    assert read_task(stream) is None


def test_message_cut_short_is_the_end() -> None:
    whole = encode(TASK)
    for length in (3, len(whole) - 1):
        assert read_task(io.BytesIO(whole[:length])) is None


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("object-not-found", "it is gone"),
        InvalidError("storage-url-invalid", "it is not understood"),
        ExecutionError("x", "y"),
        StorageError("storage-full", "no room"),
        UnreachableError("store-unreachable", "no answer"),
    ],
)
def test_error_of_a_worker_arrives_as_the_class_that_it_was(error: PachydermError) -> None:
    [refused] = take_answers(bytearray(encode(WorkerRefused.of(error))))
    assert isinstance(refused, WorkerRefused)
    arrived = refused.error()
    assert (type(arrived), arrived.code, arrived.message) == (type(error), error.code, error.message)


def test_answers_are_taken_whole_however_they_arrive() -> None:
    sent = b"".join(encode(answer) for answer in ANSWERS)
    for size in (1, 7, len(sent)):
        received, taken = bytearray(), []
        for start in range(0, len(sent), size):
            received += sent[start : start + size]
            taken += take_answers(received)
        assert taken == ANSWERS
        assert received == b""
