"""What a shell completes a command line with. It imports no command, since those take long; `signatures.json` says what each takes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.shell_completion import split_arg_string

from pachyderm_dagster.cli.failures import DONE
from pachyderm_dagster.cli.lazy import load, singulars
from pachyderm_dagster.cli.table import COMMANDS, VERBS
from pachyderm_dagster.errors import PachydermError

FILE = "FILE"
MOST_WORDS = 3
_END = "\0"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A word, and what it means; FILE instead of a word lets the shell complete the name of a file."""

    word: str
    help: str = ""


@dataclass(slots=True)
class Line:
    """A command line up to the word that is completed, read as the command's signature says."""

    arguments: list[str] = field(default_factory=list)
    project: str | None = None
    waiting: str | Sequence[str] | None = None
    """What the option before takes, when it still waits for its value."""
    named: list[str] = field(default_factory=list)
    """The pipelines and jobs that options name."""

    def take(self, takes: object, value: str) -> None:
        """Reads the value of an option."""
        if takes == "PROJECT":
            self.project = value
        elif isinstance(takes, str) and takes.startswith("PIPELINE"):
            self.named.append(value)


def answer(line: str, environ: Mapping[str, str]) -> int:
    """Prints what the last word of `line` may become: a line each, the word, a tab and what it means. Never an error: a shell would show it in the line."""
    try:
        for candidate in complete(line, environ):
            print(f"{candidate.word}\t{candidate.help}")
    except (PachydermError, OSError):
        pass
    return DONE


def complete(line: str, environ: Mapping[str, str]) -> list[Candidate]:
    """What the last word of a command line may become. Errors as `candidates.names`."""
    # The mark keeps a word that has not begun, and one whose quotes are still open.
    *words, last = split_arg_string(line + _END)[1:] or [_END]
    begun = last.removesuffix(_END)
    given = [word for word in words if not word.startswith("-")]
    below = [] if begun.startswith("-") else _next_words(given)
    return _beginning(begun, [*below, *_in_command(words, given, begun, environ)])


def _in_command(words: Sequence[str], given: Sequence[str], begun: str, environ: Mapping[str, str]) -> list[Candidate]:
    """What may follow in the command that the line names; nothing when it names none yet."""
    signatures = _signatures()
    for length in range(min(MOST_WORDS, len(given)), 0, -1):
        named = _find(given[:length], signatures)
        if named is not None:
            return _complete_command(signatures[named], _after(words, length), begun, environ)
    return []


def _complete_command(signature: Mapping[str, Any], words: Sequence[str], begun: str, environ: Mapping[str, str]) -> list[Candidate]:
    options = {name: option for option in signature["options"] for name in option["names"]}
    line = _read(words, options)
    if line.waiting is not None:
        return _values(line.waiting, begun, line, environ)
    name, equals, value = begun.partition("=")
    if equals and name.startswith("--"):
        takes = options.get(name, {"takes": None})["takes"]
        return [] if takes is None else [Candidate(f"{name}={one.word}", one.help) for one in _values(takes, value, line, environ) if one.word != FILE]
    if begun.startswith("-"):
        return [Candidate(name, option["help"]) for name, option in options.items() if name.startswith("--") or begun == "-"]
    arguments = signature["arguments"]
    if not arguments or (len(line.arguments) >= len(arguments) and not _repeats(arguments[-1])):
        return []
    return _values(arguments[min(len(line.arguments), len(arguments) - 1)], begun, line, environ)


def _repeats(argument: str | Sequence[str]) -> bool:
    return isinstance(argument, str) and argument.endswith("...")


def _read(words: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> Line:
    line = Line()
    for word in words:
        name, equals, value = word.partition("=")
        if line.waiting is not None:
            line.take(line.waiting, word)
            line.waiting = None
        elif equals and name in options:
            line.take(options[name]["takes"], value)
        elif word in options:
            line.waiting = options[word]["takes"]
        elif not word.startswith("-"):
            line.arguments.append(word)
    return line


def _values(takes: str | Sequence[str], begun: str, line: Line, environ: Mapping[str, str]) -> list[Candidate]:
    if not isinstance(takes, str):
        return [Candidate(choice) for choice in takes]
    if takes == FILE:
        return [Candidate(FILE)]
    names = load("pachyderm_dagster.cli.candidates:names")
    return [Candidate(name) for name in names(environ, takes, begun, line.project, line.arguments or line.named)]


def _next_words(given: Sequence[str]) -> list[Candidate]:
    """The words that follow the first words of commands."""
    depth = len(given)
    found: dict[str, str] = {}
    for words, entry in COMMANDS.items():
        parts = words.split()
        if len(parts) > depth and parts[:depth] == list(given):
            is_whole = len(parts) == depth + 1
            found.setdefault(parts[depth], entry.help if is_whole else "" if depth else VERBS.get(parts[depth], ""))
    return [Candidate(word, help) for word, help in found.items()]


def _find(words: Sequence[str], signatures: Mapping[str, Any]) -> str | None:
    *first, last = words
    return next((name for one in singulars(last) if (name := " ".join([*first, one])) in signatures), None)


def _after(words: Sequence[str], length: int) -> list[str]:
    """The words behind so many that are no options."""
    left = list(words)
    for _ in range(length):
        while left.pop(0).startswith("-"):
            pass
    return left


def _beginning(begun: str, found: Iterable[Candidate]) -> list[Candidate]:
    return [candidate for candidate in found if candidate.word == FILE or candidate.word.startswith(begun)]


def _signatures() -> dict[str, Any]:
    signatures: dict[str, Any] = json.loads(Path(__file__).with_name("signatures.json").read_text())
    return signatures
