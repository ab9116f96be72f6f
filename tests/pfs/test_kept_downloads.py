"""What a put leaves of a bucket for the next one."""

import datetime as dt
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import UnreachableError
from pachyderm_dagster.pfs import kept_downloads, putting
from pachyderm_dagster.pfs.kept_downloads import BATCH_BYTES, KEPT, KeptDownloads, cut_into_batches
from pachyderm_dagster.pfs.object_sources import ObjectDownload, RemoteObject, downloads_below
from pachyderm_dagster.pfs.putting import Manner, put_sources
from pachyderm_dagster.pfs.sources import plan_sources
from pachyderm_dagster.pfs.transfers import Transfers
from pachyderm_dagster.workspace import Workspace, open_workspace

FILES = 12
PATIENT = Transfers(parallelism=4, tries=2, pause_seconds=0)


class Downloads:
    """Stands before the real downloads: counts what is asked for, and lets it break."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken: str | None = None

    def __call__(self, url: str, objects: Sequence[RemoteObject], transfers: Transfers) -> Iterator[ObjectDownload]:
        for one, download in zip(objects, downloads_below(url, objects, transfers), strict=True):
            self.asked.append(one.name)
            if one.name == self.broken:
                yield BrokenDownload(download._store, url, one.name, transfers, one)
            else:
                yield download


class BrokenDownload(ObjectDownload):
    def fetch_head(self) -> None:
        raise UnreachableError("source-unreachable", "gone")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def place(tmp_path: Path, clock: ManualClock) -> Iterator[Workspace]:
    opened = open_workspace({"PACHYDERM_HOME": str(tmp_path / "home")}, clock=clock)
    opened.pfs.create_repo("data")
    yield opened
    opened.close()


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    folder = tmp_path / "bucket"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:02}").write_bytes(b"%d" % number)
    return folder


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> Downloads:
    """Batches of four, and what is downloaded for them."""
    monkeypatch.setattr(kept_downloads, "BATCH_OBJECTS", 4)
    monkeypatch.setattr(kept_downloads, "_NAMES_PER_BATCH", 1 << 60)
    found = Downloads()
    monkeypatch.setattr(putting, "downloads_below", found)
    return found


def put(place: Workspace, bucket: Path, target: str = "data@master") -> dict[str, bytes]:
    """Puts the whole bucket; what the commit holds then."""
    kept = KeptDownloads(place.database, place.store)
    with place.pfs.modify_file(target) as files:
        planned = plan_sources([bucket.as_uri()], None, recursive=True)
        put_sources(files, place.store, planned, stdin=io.BytesIO(), manner=Manner(transfers=PATIENT), kept=kept)
    return {row["path"]: b"".join(place.pfs.get_file(f"{target}:{row['path']}")) for row in place.pfs.glob_file(target, "/*").to_pylist()}


def content(bucket: Path) -> dict[str, bytes]:
    return {f"/{path.name}": path.read_bytes() for path in sorted(bucket.iterdir())}


def test_put_that_broke_goes_on_with_the_batch_that_it_was_at(place: Workspace, bucket: Path, downloads: Downloads) -> None:
    downloads.broken = "09"
    with pytest.raises(UnreachableError):
        put(place, bucket)
    assert downloads.asked[:9] == [f"{number:02}" for number in range(9)]
    downloads.asked, downloads.broken = [], None
    assert put(place, bucket) == content(bucket)
    assert downloads.asked == ["08", "09", "10", "11"]


def test_repeated_put_downloads_the_batches_that_changed(place: Workspace, bucket: Path, downloads: Downloads) -> None:
    put(place, bucket)
    (bucket / "05").write_bytes(b"something else")
    downloads.asked = []
    assert put(place, bucket, "data@other") == content(bucket)
    assert downloads.asked == ["04", "05", "06", "07"]


def test_what_is_kept_outlives_a_collection_and_the_commit(place: Workspace, bucket: Path, downloads: Downloads) -> None:
    put(place, bucket)
    place.pfs.delete_repo("data")
    place.collect_garbage(grace=dt.timedelta(0))
    place.pfs.create_repo("data")
    downloads.asked = []
    assert put(place, bucket) == content(bucket)
    assert downloads.asked == []


def test_after_a_day_everything_is_downloaded_again(place: Workspace, bucket: Path, downloads: Downloads, clock: ManualClock) -> None:
    put(place, bucket)
    clock.advance(KEPT)
    downloads.asked = []
    assert put(place, bucket) == content(bucket)
    assert len(downloads.asked) == FILES


def objects(sizes: Sequence[int], tag: str | None = "t") -> list[RemoteObject]:
    return [RemoteObject(f"{number:05}", size, tag) for number, size in enumerate(sizes)]


def test_batches_end_at_their_bytes_and_at_their_number() -> None:
    batches = list(cut_into_batches("s3://b", objects([BATCH_BYTES // 2] * 5)))
    assert [len(batch.objects) for batch in batches] == [2, 2, 1]
    assert max(len(batch.objects) for batch in cut_into_batches("s3://b", objects([1] * 5000))) <= 1000


def test_new_object_changes_the_batch_that_it_falls_into_only() -> None:
    before = objects([1] * 5000)
    after = sorted([*before, RemoteObject("02500a", 1, "t")], key=lambda one: one.name)
    known = {batch.id for batch in cut_into_batches("s3://b", before)}
    assert len([batch for batch in cut_into_batches("s3://b", after) if batch.id not in known]) == 1


@pytest.mark.parametrize("changed", [RemoteObject("00001", 1, "u"), RemoteObject("00001", 2, "t"), RemoteObject("0000x", 1, "t")])
def test_other_tag_size_or_name_is_another_batch(changed: RemoteObject) -> None:
    (one,) = cut_into_batches("s3://b", objects([1, 1]))
    (other,) = cut_into_batches("s3://b", [*objects([1]), changed])
    assert one.id != other.id


def test_objects_without_tags_are_not_kept() -> None:
    assert [batch.id for batch in cut_into_batches("s3://b", objects([1, 1], tag=None))] == [None]
