"""docs/reference/cli.md names every command, option and key, and none that is gone."""

import re

import click
import pytest

from pachyderm_dagster.cli.gone import GONE
from pachyderm_dagster.cli.table import COMMANDS, OLD_NAMES
from tests.cli.pachctl import Document, Pachctl
from tests.docs.markdown import ROOT, table_rows

ROWS = table_rows(ROOT / "docs" / "reference" / "cli.md")
SHARED = {"project", "form", "raw", "full_timestamps"}
# What a caller may rely on, whatever changes inside.
PROMISED = {
    "repo": "name project created description size_bytes branches",
    "commit": "repo branch id parent started finished error origin size_bytes direct_provenance",
    "branch": "repo name head direct_provenance trigger",
    "file": "path type size_bytes hash",
    "difference": "op new old",
    "pipeline": "name version state type input transform output_branch last_job_state",
    "job": "id pipeline state reason created started finished data_total data_processed data_skipped data_failed data_recovered restarts run_id",
    "datum": "id job state files process_seconds download_bytes upload_bytes",
}


def words_of(cell: str) -> str:
    """The words of a command at the beginning of a cell."""
    found = re.match(r"`((?:[a-z]+(?:-[a-z]+)* ?)+)(?= [A-Z\[{]|`| )", cell)
    return found[1].strip() if found else ""


def documented(columns: int) -> dict[str, list[str]]:
    """Rows whose first cell is a command, by its words."""
    return {words_of(row[0]): row for row in ROWS if len(row) == columns and words_of(row[0])}


def test_every_command_is_documented_and_none_that_is_gone() -> None:
    assert set(documented(3)) == set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_and_argument_is_documented(words: str) -> None:
    command = COMMANDS[words].command()
    context = click.Context(command, info_name=words)
    arguments = [parameter.make_metavar(context) for parameter in command.params if isinstance(parameter, click.Argument)]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option) and not parameter.hidden and parameter.name not in SHARED]
    names = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    row = documented(3)[words]
    assert row[0] == f"`{' '.join([words, *arguments])}`"
    assert set(re.findall(r"(?<![\w-])--?[A-Za-z][a-z-]*", row[2])) == names
    assert row[1] == COMMANDS[words].help.removesuffix(".")


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_help_and_an_example(words: str) -> None:
    command = COMMANDS[words].command()
    context = click.Context(command, info_name=words)
    shown = command.get_help(context)
    assert re.search(rf"Example: .*{words}", shown)
    assert len((command.help or "").split("\n\n")) >= 2


def test_every_old_name_is_documented_with_its_words() -> None:
    found = {row[0].strip("`"): row[1] for row in ROWS if len(row) == 2}
    for name, entry in OLD_NAMES.items():
        words = getattr(entry, "words", None)
        (line,) = [line for line in found if line.split()[0] == name]
        assert words is None or line == f"{name} {words}".strip()
    assert {name: gone.instead for name, gone in GONE.items()}.items() <= found.items()


def documents(pachctl: Pachctl) -> dict[str, Document]:
    """One document of every kind."""
    found = {
        "project": pachctl.json("list", "project"),
        "repo": pachctl.json("list", "repo"),
        "branch": pachctl.json("list", "branch", "books"),
        "commit": pachctl.json("list", "commit", "books"),
        "file": pachctl.json("list", "file", "books@master"),
        "difference": pachctl.json("diff", "file", "books@master:/"),
        "pipeline": pachctl.json("list", "pipeline"),
        "job": pachctl.json("list", "job"),
        "datum": pachctl.json("list", "datum", "count@master"),
        "line of logs": pachctl.json("logs", "-p", "count"),
        "setting": pachctl.json("config"),
        "version": pachctl.json("version"),
    }
    return {kind: list_of[0] for kind, list_of in found.items()}


def test_documents_have_the_keys_that_are_promised_and_documented(worked: Pachctl) -> None:
    found = documents(worked)
    for kind, keys in PROMISED.items():
        assert found[kind].keys() >= set(keys.split())
    in_docs = {row[0].replace("`", ""): re.findall(r"`(\w+)`", row[1]) for row in ROWS if len(row) == 2}
    assert {kind: list(document) for kind, document in found.items()} == {kind: in_docs[kind] for kind in found}


def test_times_are_utc_and_ids_are_references(worked: Pachctl) -> None:
    found = documents(worked)
    for time in (found["repo"]["created"], found["commit"]["finished"], found["job"]["started"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", time)
    commit = worked.json("inspect", "commit", "count@master")[0]
    assert all(worked("inspect", "commit", reference, "-o", "json").document["id"] for reference in commit["direct_provenance"])
