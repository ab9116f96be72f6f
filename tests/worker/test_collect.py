import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.worker.collect import OutputFile, collect
from pachyderm_dagster.worker.folders import empty_folder
from pachyderm_dagster.worker.stage import Originals, staged_time_ns

STORED = Content(b"h" * 32, 5, ())


def set_staged_time(path: Path, content: Content) -> None:
    os.utime(path, ns=(staged_time_ns(content), staged_time_ns(content)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What user code sees as /pfs, with the input file `data/f` staged."""
    (tmp_path / "data").mkdir()
    (tmp_path / "out").mkdir()
    staged = tmp_path / "data" / "f"
    staged.write_text("hello")
    set_staged_time(staged, STORED)
    return tmp_path


def found(root: Path) -> list[tuple[str, str | Content]]:
    return [(file.path, file.source) for file in collect(str(root), Originals({"/data/f": STORED}))]


def refusal(root: Path) -> ExecutionError:
    with pytest.raises(ExecutionError) as caught:
        found(root)
    return caught.value


def test_files_in_directories_are_found_by_path(root: Path) -> None:
    for path in ("b", "a/z", "a/b/c"):
        (root / "out" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "out" / path).write_text("x")
    assert found(root) == [("/a/b/c", f"{root}/out/a/b/c"), ("/a/z", f"{root}/out/a/z"), ("/b", f"{root}/out/b")]


def test_empty_directories_fifos_and_sockets_are_left_out(root: Path) -> None:
    (root / "out" / "empty").mkdir()
    os.mkfifo(root / "out" / "fifo")
    (root / "out" / "null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        before = os.getcwd()
        os.chdir(root / "out")
        try:
            server.bind("socket")
        finally:
            os.chdir(before)
        assert found(root) == []


def test_hard_link_is_a_file(root: Path) -> None:
    (root / "out" / "one").write_text("x")
    os.link(root / "out" / "one", root / "out" / "two")
    os.link(root / "data" / "f", root / "out" / "input")
    assert [path for path, _ in found(root)] == ["/input", "/one", "/two"]
    assert all(isinstance(source, str) for _, source in found(root))


@pytest.mark.parametrize("target", ["absolute", "relative", "through another link"])
def test_link_to_input_file_is_its_content(root: Path, target: str) -> None:
    link = root / "out" / "link"
    match target:
        case "absolute":
            link.symlink_to(root / "data" / "f")
        case "relative":
            link.symlink_to("../data/f")
        case _:
            (root / "between").symlink_to("data/f")
            link.symlink_to("../between")
    assert found(root) == [("/link", STORED)]


def test_link_to_input_directory_brings_its_files_as_contents(root: Path) -> None:
    (root / "out" / "all").symlink_to("../data")
    assert found(root) == [("/all/f", STORED)]


@pytest.fixture
def empty(root: Path) -> Callable[[], list[tuple[str, str | Content]]]:
    """What is found when the input file was staged without its content."""
    staged = root / "data" / "f"
    staged.write_bytes(b"")
    set_staged_time(staged, STORED)
    originals = Originals({"/data/f": STORED}, empty={"/data/f"}, has_substitutes=True)
    return lambda: [(file.path, file.source) for file in collect(str(root), originals)]


def test_links_of_each_kind_to_an_empty_input_file_are_its_content(root: Path, empty: Callable[[], list[tuple[str, str | Content]]]) -> None:
    (root / "out" / "all").symlink_to("../data")
    (root / "out" / "link").symlink_to("../data/f")
    os.link(root / "data" / "f", root / "out" / "hard")
    assert empty() == [("/all/f", STORED), ("/hard", STORED), ("/link", STORED)]


def test_copy_of_an_empty_input_file_is_empty_and_one_that_was_written_to_is_what_was_written(
    root: Path, empty: Callable[[], list[tuple[str, str | Content]]]
) -> None:
    shutil.copy2(root / "data" / "f", root / "out" / "copy")
    assert empty() == [("/copy", f"{root}/out/copy")]
    (root / "data" / "f").write_text("mine")
    (root / "out" / "link").symlink_to("../data/f")
    assert empty() == [("/copy", f"{root}/out/copy"), ("/link", f"{root}/data/f")]


def test_links_of_each_kind_to_a_lazy_input_file_are_its_content(root: Path) -> None:
    os.unlink(root / "data" / "f")
    os.mkfifo(root / "data" / "f")
    os.mkfifo(root / "out" / "own")
    os.link(root / "out" / "own", root / "out" / "again")
    (root / "out" / "link").symlink_to("../data/f")
    os.link(root / "data" / "f", root / "out" / "hard")
    found = collect(str(root), Originals({"/data/f": STORED}, has_substitutes=True))
    assert [(file.path, file.source) for file in found] == [("/hard", STORED), ("/link", STORED)]


@pytest.mark.parametrize("change", [lambda path: path.write_text("HELLO"), lambda path: path.write_text("longer than before")])
def test_link_to_changed_input_file_is_the_new_file(root: Path, change: Callable[[Path], object]) -> None:
    change(root / "data" / "f")
    (root / "out" / "link").symlink_to("../data/f")
    assert found(root) == [("/link", f"{root}/data/f")]


def test_link_to_another_input_file_that_took_the_place_of_one_is_that_file(root: Path) -> None:
    other = root / "data" / "other"
    other.write_text("HELLO")
    set_staged_time(other, Content(b"o" * 32, 5, ()))
    other.rename(root / "data" / "f")
    (root / "out" / "link").symlink_to("../data/f")
    assert found(root) == [("/link", f"{root}/data/f")]


def test_file_beside_the_root_is_no_input_file(root: Path) -> None:
    beside = root.parent / f"{root.name}-beside"
    beside.write_text("hello")
    set_staged_time(beside, STORED)
    (root / "out" / "link").symlink_to(beside)
    assert collect(str(root), Originals({"-beside": STORED})) == [OutputFile("/link", str(beside))]


def test_other_links_are_followed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "deep").mkdir()
    (elsewhere / "deep" / "x").write_text("x")
    (root / "out" / "dir").symlink_to(elsewhere)
    (root / "out" / "file").symlink_to(elsewhere / "deep" / "x")
    assert found(root) == [("/dir/deep/x", f"{elsewhere}/deep/x"), ("/file", f"{elsewhere}/deep/x")]


def test_broken_link_is_named(root: Path) -> None:
    (root / "out" / "link").symlink_to("/nowhere")
    error = refusal(root)
    assert error.code == "output-link-invalid"
    assert f"{root}/out/link is a link to '/nowhere'" in error.message


def test_links_in_a_circle_are_named(root: Path) -> None:
    (root / "out" / "a").symlink_to("b")
    (root / "out" / "b").symlink_to("a")
    assert refusal(root).code == "output-link-invalid"


def test_directory_that_contains_itself_is_named(root: Path) -> None:
    (root / "out" / "dir").mkdir()
    (root / "out" / "dir" / "again").symlink_to("..")
    error = refusal(root)
    assert error.code == "output-link-invalid"
    assert f"{root}/out/dir/again" in error.message


@pytest.mark.parametrize("name", ["what?.txt", "a*b", "[x]", "a@b", "new\nline"])
def test_forbidden_name_is_named_with_the_rule(root: Path, name: str) -> None:
    (root / "out" / "good").write_text("x")
    (root / "out" / name).write_text("x")
    error = refusal(root)
    assert error.code == "output-path-invalid"
    shown = name.replace("\n", "\\n")
    assert f"{root}/out/{shown} cannot be output" in error.message
    assert "\n" not in str(error).replace(name, "")


def test_forbidden_directory_name_counts_only_with_a_file_in_it(root: Path) -> None:
    (root / "out" / "a*b").mkdir()
    assert found(root) == []
    (root / "out" / "a*b" / "f").write_text("x")
    assert refusal(root).code == "output-path-invalid"


def test_name_that_is_not_utf8_is_refused_in_utf8(root: Path) -> None:
    with open(os.fsencode(root / "out") + b"/\xff\xfe", "wb"):
        pass
    error = refusal(root)
    assert error.code == "output-path-invalid"
    assert "\\udcff" in error.message
    assert str(error).encode()


def test_names_that_differ_in_unicode_form_only_are_refused(root: Path) -> None:
    (root / "out" / "\u00e9").write_text("composed")
    (root / "out" / "e\u0301").write_text("decomposed")
    assert refusal(root).code == "output-path-invalid"


def test_name_is_stored_composed_and_read_as_it_lies(root: Path) -> None:
    (root / "out" / "e\u0301").write_text("x")
    assert collect(str(root), Originals({})) == [OutputFile("/\u00e9", f"{root}/out/e\u0301")]


def test_output_replaced_by_something_else_is_missing(root: Path) -> None:
    (root / "out").rmdir()
    assert refusal(root).code == "output-missing"
    (root / "out").symlink_to("data")
    assert refusal(root).code == "output-missing"


def test_files_and_directories_without_rights_are_taken(root: Path) -> None:
    (root / "out" / "dir").mkdir()
    (root / "out" / "dir" / "f").write_text("x")
    (root / "out" / "dir" / "f").chmod(0)
    (root / "out" / "dir").chmod(0)
    [(path, source)] = found(root)
    assert path == "/dir/f"
    assert isinstance(source, str)
    assert Path(source).read_text() == "x"


@pytest.fixture
def make_deep(root: Path) -> Iterator[Callable[[str, int], None]]:
    """Makes so many directories of one name in one another, and a file in the last."""
    make = "import os, sys; os.chdir(sys.argv[1])\nfor _ in range(int(sys.argv[3])): os.mkdir(sys.argv[2]); os.chdir(sys.argv[2])\nopen('f', 'w').write('x')"

    def make_levels(name: str, levels: int) -> None:
        subprocess.run([sys.executable, "-c", make, str(root / "out"), name, str(levels)], check=True)

    yield make_levels
    # What removes the folders of tests cannot go so deep.
    empty_folder(str(root / "out"))


def test_file_below_many_directories_is_found(root: Path, make_deep: Callable[[str, int], None]) -> None:
    make_deep("d", 1500)
    assert [path for path, _ in found(root)] == ["/d" * 1500 + "/f"]


def test_directory_deeper_than_any_path_is_refused(root: Path, make_deep: Callable[[str, int], None]) -> None:
    make_deep("d" * 200, 30)
    error = refusal(root)
    assert error.code == "output-path-invalid"
    assert error.message.endswith("... cannot be output: its path has more than 4,096 bytes")
    assert len(error.message) < 500


def test_name_that_is_no_text_is_shown_in_one_line(root: Path) -> None:
    (root / "out" / "a\nb").write_text("x")
    assert refusal(root).message.startswith(f"{root}/out/a\\nb cannot be output: ")
    (root / "out" / "a\nb").unlink()
    Path(os.fsdecode(os.fsencode(root / "out") + b"/\xff\xfe")).write_text("x")
    assert refusal(root).message.startswith(f"{root}/out/\\xff\\xfe cannot be output: ")
