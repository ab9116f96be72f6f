import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pachyderm_dagster.errors import PachydermError, StorageError, UnreachableError
from pachyderm_dagster.storage.chunks import MIN_CHUNK_BYTES
from pachyderm_dagster.storage.content import Content, ContentReader, ContentWriter
from pachyderm_dagster.storage.file_columns import FileColumns
from pachyderm_dagster.storage.folder_store import FolderStore
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.small_files import BATCH_BYTES
from pachyderm_dagster.worker.collect import OutputFile
from pachyderm_dagster.worker.folders import FolderPool
from pachyderm_dagster.worker.protocol import DatumResult, ResultState
from pachyderm_dagster.worker.publish import BATCH_DATUMS, BATCH_SECONDS, FinishedDatum, Publisher
from tests.storage.faulty import FullStore


class Desk:
    """A publisher, what it is given and what it answered, in batches."""

    def __init__(self, folder: Path, store: ObjectStore, total: int, batch_seconds: float = BATCH_SECONDS) -> None:
        self.store = store
        self.pool = FolderPool(str(folder / "datums"))
        self.batches: list[Sequence[DatumResult]] = []
        self.readable: list[bytes] = []
        self.answered = 0
        self.has_answered = threading.Event()
        self.total = total
        self.queue: queue.Queue[FinishedDatum | PachydermError | None] = queue.Queue()
        self.publisher = Publisher(
            ContentWriter(store), self.pool, "/pfs", self.answer, lambda count: self.total - self.answered == count, batch_seconds=batch_seconds
        )

    def answer(self, batch: Sequence[DatumResult]) -> None:
        self.batches.append(batch)
        self.answered += len(batch)
        self.has_answered.set()
        for result in batch:
            self.readable += [ContentReader(self.store).read(content) for _, content in result.outputs]

    def finish(self, index: int, data: bytes, log: bytes = b"") -> None:
        folder = self.pool.take(["out"])
        Path(folder, "out", "f").write_bytes(data)
        self.queue.put(FinishedDatum(DatumResult(id=f"{index:064x}", index=index, state=ResultState.SUCCESS), folder, [OutputFile("/f", "/pfs/out/f")], log))

    def serve_changed(self, change: Callable[[Path], None]) -> DatumResult:
        """The answer to the one datum, whose output was changed meanwhile."""
        [datum] = list(self.queue.queue)
        assert isinstance(datum, FinishedDatum)
        change(Path(datum.folder, "out", "f"))
        self.serve()
        [[result]] = self.batches
        return result

    def answers_before_the_end(self) -> bool:
        """Whether it answers one result while others may still come."""
        serving = threading.Thread(target=self.publisher.serve, args=(self.queue,))
        serving.start()
        self.finish(0, b"x")
        answered = self.has_answered.wait(10)
        self.queue.put(None)
        serving.join()
        return answered

    def serve(self) -> None:
        self.queue.put(None)
        self.publisher.serve(self.queue)


def test_results_are_durable_when_they_are_answered(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FolderStore(tmp_path / "store"), 3)
    for index in range(3):
        desk.finish(index, b"output %d" % index, log=b"said")
    desk.serve()
    assert desk.readable == [b"output 0", b"output 1", b"output 2"]
    result = desk.batches[0][0]
    assert result.upload_bytes == 8
    assert result.log is not None
    assert ContentReader(desk.store).read(result.log) == b"said"


def test_many_small_datums_share_one_object(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FolderStore(tmp_path / "store"), 20)
    for index in range(20):
        desk.finish(index, b"output %d" % index)
    desk.serve()
    assert desk.answered == 20
    assert len(list((tmp_path / "store" / "objects").rglob("*/*"))) <= len(desk.batches)
    assert len(desk.batches) < 20


def test_batch_is_answered_when_it_is_full(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FolderStore(tmp_path / "store"), 10 * BATCH_DATUMS, batch_seconds=1000)
    for index in range(BATCH_DATUMS + 1):
        desk.finish(index, b"x")
    desk.serve()
    assert [len(batch) for batch in desk.batches] == [BATCH_DATUMS, 1]


def test_last_datum_is_answered_at_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FolderStore(tmp_path / "store"), 1, batch_seconds=1000)
    assert desk.answers_before_the_end()


def test_lonely_result_is_answered_although_others_are_on_their_way(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FolderStore(tmp_path / "store"), 2)
    assert desk.answers_before_the_end()


def test_link_to_input_is_not_uploaded(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FolderStore(tmp_path / "store"), 1)
    stored = Content(b"h" * 32, 1000, ())
    result = DatumResult(id="a" * 64, index=0, state=ResultState.SUCCESS)
    desk.queue.put(FinishedDatum(result, desk.pool.take(["out"]), [OutputFile("/same", stored)], b""))
    desk.publisher.answer = desk.batches.append
    desk.serve()
    assert desk.batches[0][0].outputs == FileColumns.of([("same", stored)])
    assert desk.batches[0][0].upload_bytes == 0


@pytest.mark.parametrize("size", [100, 3 << 20])
def test_full_disk_is_raised_and_fails_no_datum(tmp_path: Path, size: int) -> None:
    desk = Desk(tmp_path, FullStore(FolderStore(tmp_path / "store")), 1)
    desk.finish(0, b"x" * size)
    with pytest.raises(StorageError, match="no room"):
        desk.serve()
    assert desk.batches == []


def test_outage_met_before_is_raised_when_the_datums_ahead_of_it_are_answered(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FolderStore(tmp_path / "store"), 10)
    desk.finish(0, b"x")
    desk.queue.put(UnreachableError("store-unreachable", "no answer"))
    with pytest.raises(UnreachableError, match="no answer"):
        desk.serve()
    assert desk.readable == [b"x"]


def test_output_that_cannot_be_read_fails_its_datum(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FolderStore(tmp_path / "store"), 1)
    desk.finish(0, b"x", log=b"said")
    result = desk.serve_changed(lambda output: output.unlink())
    assert result.state is ResultState.FAILED
    assert result.reason.endswith("No such file or directory [output-unreadable]")
    assert result.outputs == FileColumns()
    assert result.log is not None
    assert ContentReader(desk.store).read(result.log) == b"said"


def test_pipe_in_the_place_of_an_output_fails_its_datum_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FolderStore(tmp_path / "store"), 1)
    desk.finish(0, b"x")

    def replace(output: Path) -> None:
        output.unlink()
        os.mkfifo(output)

    result = desk.serve_changed(replace)
    assert result.reason == "output file out/f was replaced by what is no file [output-unreadable]"


def test_small_files_inputs_and_large_files_are_in_their_order(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FolderStore(tmp_path / "store"), 1)
    stored = Content(b"h" * 32, 1000, ())
    folder = desk.pool.take(["out"])
    bodies = {"a": b"small", "b": b"x" * MIN_CHUNK_BYTES, "c": b"", "d": b"y" * (BATCH_BYTES + 1), "e": b"last"}
    for name, body in bodies.items():
        Path(folder, "out", name).write_bytes(body)
    outputs = [*(OutputFile(f"/{name}", f"/pfs/out/{name}") for name in bodies), OutputFile("/f", stored)]
    desk.publisher.answer = desk.batches.append
    desk.queue.put(FinishedDatum(DatumResult(id="a" * 64, index=0, state=ResultState.SUCCESS), folder, outputs[::-1], b""))
    desk.serve()
    [[result]] = desk.batches
    assert [name for name, _ in result.outputs] == ["f", "e", "d", "c", "b", "a"]
    reader = ContentReader(desk.store)
    assert [reader.read(content) for _, content in list(result.outputs)[1:]] == list(bodies.values())[::-1]
    assert result.upload_bytes == sum(map(len, bodies.values()))


def test_large_output_is_read_in_pieces(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FolderStore(tmp_path / "store"), 1)
    data = b"".join(b"%08d" % number for number in range(500_000))
    desk.finish(0, data)
    desk.serve()
    assert desk.readable == [data]
