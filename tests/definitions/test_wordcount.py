"""The word count example: its 2019 pipeline file and its counting."""

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from pachyderm_dagster.pps.spec_reading import parse_specs
from tests.definitions.pachctl import documents, pachctl
from tests.docs.markdown import ROOT

FOLDER = ROOT / "definitions" / "wordcount"
TEXTS = sorted((FOLDER / "texts").iterdir())
PIPELINE_OF_2019 = (
    '{"pipeline":{"name":"wordcount"},"transform":{"image":"wordcount-image","cmd":["/binary","/pfs/data","/pfs/out"]},'
    '"input":{"atom":{"repo":"data","glob":"/*"}}}'
)


def on_this_machine() -> str:
    """The pipeline file with the path of the command as it is here."""
    return (FOLDER / "pipeline.json").read_text().replace("/binary", str(FOLDER / "count_words.py"))


def count_words(source: Path, target: Path, *, pfs_root: str = "/pfs") -> None:
    command = [FOLDER / "count_words.py", source, target]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PFS_ROOT": pfs_root})


def read_counts(path: Path) -> list[tuple[int, str]]:
    lines = (line.split(" ") for line in path.read_text().splitlines())
    return [(int(count), word) for count, word in lines]


def words(text: str) -> list[str]:
    """The words of an English text, found letter by letter."""
    spaced = "".join(letter if letter in "abcdefghijklmnopqrstuvwxyz'" else " " for letter in text.lower())
    return [word for word in (piece.strip("'") for piece in spaced.split()) if word]


def test_pipeline_file_is_that_of_2019() -> None:
    assert (FOLDER / "pipeline.json").read_text() == PIPELINE_OF_2019 + "\n"


def test_nothing_but_the_path_of_the_command_is_adapted() -> None:
    then, now = json.loads(PIPELINE_OF_2019), json.loads(on_this_machine())
    assert now["transform"]["cmd"][1:] == then["transform"]["cmd"][1:]
    assert os.access(now["transform"]["cmd"][0], os.X_OK)
    now["transform"]["cmd"][0] = "/binary"
    assert now == then


def test_atom_input_of_2019_is_read_as_the_pfs_input_of_today() -> None:
    (spec,) = parse_specs(on_this_machine(), source="pipeline.json")
    assert json.loads(spec.to_json())["input"] == {"pfs": {"name": "data", "repo": "data", "branch": "master", "glob": "/*"}}


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.name)
def test_counts_are_those_of_the_text(text: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "data" / text.name).write_bytes(text.read_bytes())
    count_words(tmp_path / "data", tmp_path / "out")
    counts = read_counts(tmp_path / "out" / text.name)
    assert {word: count for count, word in counts} == Counter(words(text.read_text()))
    assert [count for count, _ in counts] == sorted((count for count, _ in counts), reverse=True)


def test_each_text_has_its_own_file_of_counts(tmp_path: Path) -> None:
    count_words(FOLDER / "texts", tmp_path)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [text.name for text in TEXTS]


def test_words_are_counted_without_case_and_with_their_apostrophes(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "data" / "note").write_text("The author's note: the AUTHOR's 'own' note-book, 2 pages.\n")
    count_words(tmp_path / "data", tmp_path / "out")
    expected = "2 author's\n2 note\n2 the\n1 book\n1 own\n1 pages\n"
    assert (tmp_path / "out" / "note").read_text() == expected


def test_folders_are_found_where_pfs_is_not_real(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "data" / "note").write_text("a word\n")
    count_words(Path("/pfs/data"), Path("/pfs/out"), pfs_root=str(tmp_path))
    assert (tmp_path / "out" / "note").read_text() == "1 a\n1 word\n"


@pytest.mark.timeout(300)
def test_words_of_a_new_text_are_counted_without_counting_the_others_again(tmp_path: Path) -> None:
    home, spec = tmp_path / "home", tmp_path / "pipeline.json"
    spec.write_text(on_this_machine())
    *most, last = TEXTS
    pachctl(home, "create-repo", "data")
    pachctl(home, "create-pipeline", "-f", str(spec))
    pachctl(home, "put-file", "data", "master", *(word for text in most for word in ("-f", str(text))))
    pachctl(home, "flush-commit", "data/master")
    pachctl(home, "put-file", "data", "master", "-f", str(last))
    pachctl(home, "flush-commit", "data/master")
    for text in TEXTS:
        lines = (line.split(" ") for line in pachctl(home, "get-file", "wordcount", "master", text.name).splitlines())
        assert {word: int(count) for count, word in lines} == Counter(words(text.read_text()))
    newest = documents(home, "list-job")[0]
    assert (newest["state"], newest["data_total"], newest["data_processed"], newest["data_skipped"]) == ("SUCCESS", 5, 1, 4)
