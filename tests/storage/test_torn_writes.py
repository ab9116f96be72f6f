"""A disk that said that bytes are durable, and has a part of them after the power went: what is read is right or refused, and found by fsck."""

import contextlib
import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import NotFoundError, PachydermError, StorageError
from pachyderm_dagster.metadata.database import Database, open_engine
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.propagation import propagate
from pachyderm_dagster.pps.store_checking import check_store
from pachyderm_dagster.storage.open_store import open_store
from tests.storage.failing import TearingStore

LARGE = bytes(number % 251 for number in range(1_200_000))
FILES = {"/large": LARGE, "/small": b"small", "/other": LARGE[::-1]}


def write(folder: Path, at: int, part: float) -> bool:
    """Writes three commits with one torn object, and looks; false when there were fewer writes than `at`."""
    home = folder / f"{at}-{part}"
    home.mkdir()
    store = open_store((home / "objects").as_uri())
    tearing = TearingStore(store, at, part=part)
    database = Database(open_engine(f"sqlite:///{home}/metadata.db"), ManualClock(), [propagate])
    with closing(database):
        pfs = Pfs(database, tearing)
        pfs.create_repo("data")
        for path in FILES:
            put(pfs, path)
        if tearing.torn is None:
            return False
        # As another process, which remembers nothing. A later write may have brought what was torn once more; then the older commit is hurt.
        later = Pfs(database, store)
        for path, data in FILES.items():
            assert read(later, path) in (data, None)
        assert check_store(database, store, deep=True, progress=lambda _: None).problems
    return True


def put(pfs: Pfs, path: str) -> None:
    """Commits a file, unless that would build upon what is torn."""
    with refusing(), pfs.modify_file("data@master") as changes:
        changes.put_bytes(path, FILES[path])


def read(pfs: Pfs, path: str) -> bytes | None:
    """A file, or None when it cannot be read."""
    found = []
    with refusing():
        found.append(b"".join(pfs.get_file(f"data@master:{path}")))
    return found[0] if found else None


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """What is in the block may be refused, because of damage and of nothing else."""
    with contextlib.suppress(StorageError, NotFoundError):
        try:
            yield
        except PachydermError as error:
            if error.code not in ("object-corrupt", "file-not-found"):
                raise AssertionError(error.code) from error
            raise


@pytest.mark.parametrize("part", [0.0, 0.5, 0.999])
def test_torn_object_is_never_taken_for_whole(tmp_path: Path, part: float) -> None:
    reached = next(at for at in itertools.count(1) if not write(tmp_path, at, part)) - 1
    assert reached >= 3


@pytest.mark.parametrize("part", [0.0, 0.5, 0.999])
def test_file_that_is_put_again_replaces_the_torn_chunk(tmp_path: Path, part: float) -> None:
    store = open_store(tmp_path.as_uri())
    tearing = TearingStore(store, 1, part=part)
    tearing.keep("objects/ab/chunk", LARGE)
    assert len(store.get("objects/ab/chunk")) < len(LARGE)
    assert store.keep("objects/ab/chunk", LARGE)
    assert store.get("objects/ab/chunk") == LARGE
