import os
import subprocess
import sys
from pathlib import Path

import pytest

from pachyderm_dagster.worker.folders import FolderPool, empty_folder, move_entries, remove_entry


@pytest.fixture
def pool(tmp_path: Path) -> FolderPool:
    return FolderPool(str(tmp_path / "pool"))


def test_new_folder_holds_the_directories_asked_for(pool: FolderPool) -> None:
    assert sorted(os.listdir(pool.take(["a", "out"]))) == ["a", "out"]


def test_folder_is_used_again_and_holds_nothing_of_before(pool: FolderPool) -> None:
    folder = pool.take(["a", "out"])
    Path(folder, "a/file").write_text("x")
    Path(folder, "a/deep/deeper").mkdir(parents=True)
    Path(folder, "junk").mkdir()
    Path(folder, ".env").write_text("x")
    pool.give_back(folder)
    assert pool.take(["b", "out"]) == folder
    assert sorted(os.listdir(folder)) == ["b", "out"]
    assert os.listdir(f"{folder}/out") == []


def test_directory_with_changed_mode_is_made_anew(pool: FolderPool) -> None:
    folder = pool.take(["out"])
    fresh = os.stat(f"{folder}/out").st_mode
    os.chmod(f"{folder}/out", 0o700)
    pool.give_back(folder)
    assert os.stat(f"{pool.take(['out'])}/out").st_mode == fresh


def test_directory_replaced_by_link_is_made_anew_and_its_target_is_left_alone(pool: FolderPool, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    folder = pool.take(["out"])
    os.rmdir(f"{folder}/out")
    os.symlink(precious, f"{folder}/out")
    pool.give_back(folder)
    assert not os.path.islink(f"{pool.take(['out'])}/out")
    assert (precious / "file").read_text() == "x"


def test_two_folders_are_out_at_once(pool: FolderPool) -> None:
    assert pool.take(["out"]) != pool.take(["out"])


def test_directories_without_rights_are_emptied(tmp_path: Path) -> None:
    locked = tmp_path / "top" / "locked"
    (locked / "inner").mkdir(parents=True)
    (locked / "file").write_text("x")
    locked.chmod(0)
    empty_folder(str(tmp_path / "top"))
    assert list((tmp_path / "top").iterdir()) == []


def test_links_are_removed_and_never_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(kept)
    remove_entry(str(folder))
    assert not folder.exists()
    assert (kept / "file").read_text() == "x"


def test_entries_move_even_when_a_directory_is_read_only(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "data").mkdir(parents=True)
    (source / "data" / "f").write_text("x")
    (source / "data").chmod(0o500)
    target.mkdir()
    move_entries(str(source), str(target))
    assert list(source.iterdir()) == []
    assert (target / "data" / "f").read_text() == "x"


def test_folders_deeper_than_any_path_are_emptied(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "beside" / "inner").mkdir(parents=True)
    make = "import os, sys; os.chdir(sys.argv[1])\nfor _ in range(3000): os.mkdir('directory'); os.chdir('directory')\nopen('file', 'w').write('x')"
    subprocess.run([sys.executable, "-c", make, str(top)], check=True)
    empty_folder(str(top))
    assert list(top.iterdir()) == []
