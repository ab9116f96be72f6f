"""Every command and every piece of Python in the documentation is run, or says why not."""

import os
from pathlib import Path

import pytest

from tests.docs.markdown import PAGES, ROOT, Block, blocks, name_of
from tests.docs.shell import Shell, commands, matches

RUN = ("sh", "console", "python")
SHOWN = ("text", "json", "yaml", "toml", "mermaid", "diff")
# A design note tells what was decided then; it is not followed by a reader and not kept up to date.
FOLLOWED = [page for page in PAGES if ROOT / "docs" / "design" not in page.parents]


def run_block(shell: Shell, block: Block) -> None:
    """Runs the block; an exit status or an output other than the page shows is a failure. A shown `error:` stands for exit status 1."""
    if block.language == "console":
        for command, shown in commands(block.text):
            answer = shell.run(command)
            expected = 1 if any(line.startswith("error:") for line in shown.splitlines()) else 0
            assert answer.status == expected, f"line {block.line}: {command!r} gave {answer.status}:\n{answer.output}"
            assert not shown or matches(shown, answer.output), f"line {block.line}: {command!r} is shown as\n{shown}\nbut printed\n{answer.output}"
        return
    command = f"python - <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK" if block.language == "python" else f"set -e\n{block.text}set +e"
    answer = shell.run(command)
    assert answer.status == 0, f"line {block.line}: gave {answer.status}:\n{answer.output}"


@pytest.mark.parametrize("page", FOLLOWED, ids=name_of)
def test_every_block_names_a_known_language(page: Path) -> None:
    unknown = [(block.line, block.language) for block in blocks(page) if block.language not in RUN + SHOWN]
    assert unknown == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [page for page in FOLLOWED if any(block.language in RUN for block in blocks(page))], ids=name_of)
def test_page_can_be_followed_word_by_word(page: Path, tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        for block in blocks(page):
            if block.language in RUN and block.excuse is None:
                run_block(shell, block)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a ... c\n", "a b c\n", True),
        ("a ... c\n", "a b d\n", False),
        ("NAME  SIZE\ndata  3\n", "NAME    SIZE  \ndata    3\n", True),
        ("first\n...\nlast\n", "first\n1\n2\nlast\n", True),
        ("first\n...\nlast\n", "first\nlast\n", True),
        ("first\n", "first\nsecond\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_shown_output_stands_for_printed_output(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) is same


def test_console_block_is_read_as_commands_with_their_output() -> None:
    assert commands("$ cat <<E\n> one\n> E\none\n$ true\n") == [("cat <<E\none\nE", "one\n"), ("true", "")]


def test_shell_keeps_variables_and_tells_status(tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        assert shell.run("word=kept").status == 0
        assert shell.run("echo $word").output == "kept\n"
        assert shell.run("cat; false").status == 1
        assert shell.run("test -f README.md").status == 0
        assert shell.run("set -e\nfalse\ntrue").status == 1


def test_what_a_page_left_in_the_background_ends_with_its_shell(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with Shell(tmp_path) as shell:
        assert shell.run(f"sleep 600 > {pipe} 2>&1 &").status == 0
        ends = pipe.open("rb")
    with ends:
        assert ends.read() == b""
