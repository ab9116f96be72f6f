"""How results are printed: JSON documents for programs, tables for people."""

import datetime as dt
import enum
import functools
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import click

from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.cli.visible import visible
from pachyderm_dagster.clock import SystemClock

Document: TypeAlias = Mapping[str, Any]


class Form(enum.StrEnum):
    """What is printed."""

    TABLE = "table"  # for people
    JSON = "json"  # one document a line
    YAML = "yaml"  # each document begins with ---


UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
# As many rows as decide the widths of a table: a million rows must not be collected before the first is seen.
ROWS_MEASURED = 1000
LONGEST_TEXT = 100


@dataclass(frozen=True, slots=True)
class Times:
    """How times are shown to people: how long ago, or in full."""

    full: bool
    now: dt.datetime

    def show(self, time: dt.datetime | None) -> str:
        """A point in time; `-` for one that has not come."""
        if time is None:
            return "-"
        if self.full:
            return rfc3339(time)
        return f"{show_duration((self.now - time).total_seconds())} ago"


Cell: TypeAlias = Callable[[Document, Times], str]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, or a line of an inspection: its title and what it shows of a document.

    Attributes:
        of_lines: what it shows has lines of its own, and the cell sees to it that nothing else in it controls a terminal.
    """

    title: str
    cell: Cell
    of_lines: bool = False

    def show(self, document: Document, times: Times) -> str:
        """What it shows, whatever the document holds."""
        shown = self.cell(document, times)
        return shown if self.of_lines else visible(shown)


@dataclass(frozen=True, slots=True)
class Printer:
    """Prints documents on standard output in the form that the caller asked for."""

    form: Form
    times: Times

    @property
    def for_programs(self) -> bool:
        """Whether it prints documents; people get tables and lines instead, and nothing at all of what a change did."""
        return self.form is not Form.TABLE

    def many(self, documents: Iterable[Document], columns: Sequence[Column]) -> None:
        """A list: a document each, as JSON one a line, or a table with a heading."""
        if self.for_programs:
            self.only_documents(*documents)
            return
        rows = ([column.show(document, self.times) for column in columns] for document in documents)
        for line in table_lines([column.title for column in columns], rows):
            click.echo(line)

    def one(self, document: Document, lines: Sequence[Column]) -> None:
        """One thing: a document, or a line a property; a property with nothing to say is left out."""
        if self.for_programs:
            self.only_documents(document)
            return
        for line in lines:
            text = line.show(document, self.times)
            if text:
                click.echo(f"{line.title}: {text}")

    def only_documents(self, *documents: Document) -> None:
        """What a change made or removed, for programs; people get nothing, as from `cp`."""
        if self.for_programs:
            self.always_documents(*documents)

    def always_documents(self, *documents: Document) -> None:
        """What has no table: people get JSON, unless they want YAML."""
        show = to_yaml if self.form is Form.YAML else to_json
        for document in documents:
            click.echo(show(document))


def printing(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command `-o/--output`, `--raw` and `--full-timestamps` and passes it what they ask for as `printer`."""

    @click.option(
        "-o", "--output", "form", type=click.Choice([form.value for form in Form]), help="json: one document a result, one a line; yaml: the same, to read."
    )
    @click.option("--raw", is_flag=True, help="The same as --output json.")
    @click.option("--full-timestamps", is_flag=True, help="Times in full instead of how long ago.")
    @functools.wraps(command)
    def wrapped(*args: Any, form: str | None, raw: bool, full_timestamps: bool, **values: Any) -> None:
        wanted = Form(form or (Form.JSON if raw else Form.TABLE))
        command(*args, printer=Printer(wanted, Times(full_timestamps, SystemClock().now())), **values)

    return wrapped


def to_json(document: Document) -> str:
    """The document in one line: times in RFC 3339 UTC, enums as their values."""
    return json.dumps(document, ensure_ascii=False, default=_plain)


def to_yaml(document: Document) -> str:
    """The document as a YAML document, with the values that it has as JSON."""
    shown: str = load("yaml:safe_dump")(json.loads(to_json(document)), explicit_start=True, sort_keys=False, allow_unicode=True)
    return shown.rstrip("\n")


def rfc3339(time: dt.datetime) -> str:
    """The time in UTC, as `2026-01-31T09:00:00.5Z`."""
    return time.astimezone(dt.UTC).replace(tzinfo=None).isoformat() + "Z"


def show_size(size_bytes: int) -> str:
    """A number of bytes for people: `0B`, `57.27KiB`."""
    size, unit = float(size_bytes), 0
    while size >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size_bytes}B" if unit == 0 else f"{size:.2f}".rstrip("0").rstrip(".") + UNITS[unit]


def show_duration(seconds: float) -> str:
    """A length of time for people, in its largest unit."""
    if seconds < 1:
        return "less than a second"
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' if number > 1 else ''}"
    raise AssertionError(seconds)


def table_lines(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table; widths are those of its first rows, and what is wider later moves the rest of its line."""
    rows = iter(rows)
    first = [list(titles), *itertools.islice(rows, ROWS_MEASURED)]
    widths = [max(len(row[column]) for row in first) for column in range(len(titles))]
    for row in itertools.chain(first, rows):
        yield " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def text(key: str) -> Cell:
    """Shows the value under `key`; `-` when there is none."""
    return lambda document, _: "-" if document[key] is None else str(document[key])


def optional(key: str) -> Cell:
    """Shows the value under `key`; nothing when there is none."""
    return lambda document, _: str(document[key] or "")


def brief(key: str) -> Cell:
    """Shows the value under `key`, or how it begins when it would fill a terminal; nothing when there is none."""
    return lambda document, _: shorten(str(document[key] or ""))


def shorten(text: str) -> str:
    """A text as a table has it."""
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def time(key: str) -> Cell:
    """Shows the time under `key`."""
    return lambda document, times: times.show(document[key])


def size(key: str) -> Cell:
    """Shows the number of bytes under `key`."""
    return lambda document, _: show_size(document[key])


def listed(key: str) -> Cell:
    """Shows the values of the list under `key`."""
    return lambda document, _: ", ".join(document[key])


def noted(key: str) -> Cell:
    """Shows the map of texts under `key`."""
    return lambda document, _: ", ".join(f"{name}={value}" for name, value in document[key].items())


def _plain(value: object) -> object:
    match value:
        case dt.datetime():
            return rfc3339(value)
        case enum.Enum():
            return value.value
        case tuple() | set() | frozenset():
            return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
