"""Folders that are watched: what changes in them, and others that take their names."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.cli.folder_watch import FolderWatch

pytestmark = pytest.mark.timeout(120)


class Watched:
    """A folder with a file, and what its watch says. When it is told that the folder is gone, it brings it back from `away`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.away = folder, folder.with_name("away")
        self.told: list[str] = []
        folder.mkdir()
        (folder / "code").write_text("1")
        self.changes: Iterator[None] = FolderWatch(threading.Event(), self._hear).changes([str(folder)])
        next(self.changes)

    def _hear(self, line: str) -> None:
        self.told.append(line)
        if "is gone" in line:
            self.away.rename(self.folder)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "watched")


def test_change_of_a_folder_that_took_the_place_of_another_is_said(watched: Watched) -> None:
    copy = watched.folder.with_name("copy")
    shutil.copytree(watched.folder, copy)
    watched.folder.rename(watched.folder.with_name("before"))
    copy.rename(watched.folder)
    next(watched.changes)
    (watched.folder / "code").write_text("2")
    next(watched.changes)
    assert watched.told == []


def test_change_of_a_folder_made_again_at_once_is_said(watched: Watched) -> None:
    for _ in range(5):
        # The new one may get the number that the old one had.
        shutil.rmtree(watched.folder)
        watched.folder.mkdir()
        next(watched.changes)
        (watched.folder / "code").write_text("new")
        next(watched.changes)


def test_folder_that_is_gone_is_told_of_and_again_when_it_is_back(watched: Watched) -> None:
    watched.folder.rename(watched.away)
    next(watched.changes)
    assert watched.told == [f"{watched.folder} is gone; it is watched again when it is back", f"{watched.folder} is back"]
    (watched.folder / "code").write_text("2")
    next(watched.changes)


def test_folder_is_looked_at_when_a_name_leads_to_another(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "link"
    link.symlink_to("one")
    changes = FolderWatch(threading.Event(), print).changes([str(link)])
    next(changes)
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(link)
    next(changes)
    (tmp_path / "two" / "code").write_text("1")
    next(changes)
