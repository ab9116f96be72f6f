"""Files that others read and write too while one is written: lines that were torn, files that are there whole."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pachyderm_dagster.argo.caches import FileCache, kept_of
from pachyderm_dagster.argo.kept_files import LineFile, read_lines, write_whole
from pachyderm_dagster.argo.nodes import KeptArtifact, NodeOutputs
from pachyderm_dagster.argo.run_folder import Answer, RunFolder


def test_an_answer_after_a_torn_one_is_heard(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.answer([Answer("a"), Answer("b")])
    with open(tmp_path / "answers", "r+b") as file:
        file.truncate((tmp_path / "answers").stat().st_size - 3)
    run.answer([Answer("c")])
    assert run.answers() == [Answer("a"), Answer("c")]


def test_lines_for_which_there_is_no_room_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LineFile(tmp_path / "lines")
    file.append(b"one\n")
    write, left = os.write, [3]

    def full(descriptor: int, data: bytes) -> int:
        if not left:
            raise OSError("no space left on device")
        return write(descriptor, data[: left.pop()])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="no space"):
            file.append(b"second\n")
    file.append(b"third\n")
    file.close()
    assert read_lines(tmp_path / "lines") == [b"one", b"third"]


def test_several_may_write_one_file_at_once(tmp_path: Path) -> None:
    texts = [f"{number}" * 1000 for number in range(8)]

    def write(text: str) -> None:
        for _ in range(100):
            write_whole(tmp_path / "stop", text.encode())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, texts))
    assert (tmp_path / "stop").read_text() in texts
    assert [path.name for path in tmp_path.iterdir()] == ["stop"]


def test_parts_of_a_run_keep_what_they_gave_under_their_own_keys(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, lambda _: True)

    def keep(key: str) -> set[str]:
        found: set[str] = set()
        for _ in range(200):
            cache.keep("c", key, kept_of(NodeOutputs(parameters={"p": key}), 0.0, "run"))
            kept = cache.find("c", key)
            assert kept is not None
            found.add(kept.outputs.parameters["p"])
        return found

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(keep, "abcd")) == [{"a"}, {"b"}, {"c"}, {"d"}]


def test_what_has_lost_an_artifact_of_the_workflow_is_forgotten(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, lambda kept: kept.key != "gone")
    cache.keep("c", "k", kept_of(NodeOutputs(global_artifacts={"a": KeptArtifact("gone")}), 0.0, "run"))
    assert cache.find("c", "k") is None
