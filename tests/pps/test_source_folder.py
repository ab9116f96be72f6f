"""Source folders: which files count, and that names and contents are all that their digest tells."""

import datetime as dt
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.pps.source_code import source_digest
from pachyderm_dagster.pps.source_folder import IGNORE_FILE, find_files, look_at_folder, source_files, store_folder
from pachyderm_dagster.storage.content import ContentReader
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.rows import FILE_ROWS
from pachyderm_dagster.storage.trees import Trees

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
FILES = st.dictionaries(st.text(st.sampled_from("ab\x00c"), min_size=1, max_size=4), st.binary(max_size=3).map(lambda data: data.ljust(32, b"-")))


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def names(folder: Path) -> list[str]:
    return [key.replace("\x00", "/") for key, _ in find_files(str(folder))]


@given(FILES, FILES)
def test_digest_is_equal_exactly_when_the_files_are(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    assert (source_digest(sorted(one.items())) == source_digest(sorted(other.items()))) is (one == other)


def test_what_is_no_source_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, main="1", lib__deep__one="2", lib__one="3")
    for ignored in (".git/config", "lib/__pycache__/one.pyc", ".venv/bin/python", "node_modules/a/b", "main~"):
        (tmp_path / ignored).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / ignored).write_text("no source")
    assert names(tmp_path) == ["lib/deep/one", "lib/one", "main"]


def test_ignore_file_takes_out_and_back_in(tmp_path: Path) -> None:
    write(tmp_path, main="1", data__big="2", data__small="3", venv__kept="4")
    (tmp_path / IGNORE_FILE).write_text("# what is not for the cluster\n/data/*\n!/data/small\n!venv/\n")
    assert names(tmp_path) == [IGNORE_FILE, "data/small", "main", "venv/kept"]


def test_pipeline_file_is_no_source(tmp_path: Path) -> None:
    write(tmp_path, main="1", spec="2")
    before = look_at_folder(str(tmp_path), NOW, but=str(tmp_path / "spec")).digest
    write(tmp_path, spec="3")
    assert look_at_folder(str(tmp_path), NOW, but=str(tmp_path / "spec")).digest == before
    assert look_at_folder(str(tmp_path), NOW).digest != before


def test_what_is_stored_is_what_was_looked_at(tmp_path: Path) -> None:
    """Also of a file of several chunks, and of an empty one."""
    write(tmp_path, main="1", lib__one="2", lib__empty="")
    large = random.Random(1).randbytes(5 << 20)
    (tmp_path / "large").write_bytes(large)
    store = open_store("memory://")
    trees = Trees(store, FILE_ROWS)
    stored = store_folder(store, trees, str(tmp_path), NOW)
    assert stored.digest == look_at_folder(str(tmp_path), NOW).digest
    reader = ContentReader(store)
    found = {path: reader.read(content) for path, content in source_files(trees, trees.decode(stored.tree))}
    assert found == {"/large": large, "/lib/empty": b"", "/lib/one": b"2", "/main": b"1"}


def test_links_are_followed_and_modes_do_not_count(tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", main="1")
    before = look_at_folder(str(folder), NOW).digest
    (folder / "main").rename(tmp_path / "elsewhere")
    (folder / "main").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").chmod(0o700)
    assert look_at_folder(str(folder), NOW).digest == before


def test_folder_without_source_is_refused(tmp_path: Path) -> None:
    def code(folder: Path) -> str:
        with pytest.raises(PachydermError) as caught:
            find_files(str(folder))
        return caught.value.code

    assert code(tmp_path / "missing") == "source-not-found"
    assert code(write(tmp_path / "folder", venv__bin="1")) == "source-invalid"
    assert code(write(tmp_path / "named", **{"a*b": "1"})) == "path-invalid"
    (tmp_path / "named" / IGNORE_FILE).write_bytes(b"\xff")
    assert code(tmp_path / "named") == "source-invalid"
