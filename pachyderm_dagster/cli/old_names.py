"""Pachyderm 1.x's names: hyphens and positional arguments, turned into the arguments of today's commands."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from pachyderm_dagster.cli.lazy import Entry

Words = Sequence[str]


@dataclass(frozen=True, slots=True)
class OldName:
    """A 1.x command: today's command with its options, and with arguments made from other words.

    Args:
        today: the command that does it.
        words: the arguments of the 1.x form; those in brackets may be left out, `...` repeats the last one.
        convert: makes today's arguments from the words, as many as today's command takes.
        fixed: options that the 1.x form sets.
    """

    today: Entry
    words: str
    convert: Callable[[Words], Words]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def help(self) -> str:
        """What today's command does."""
        return self.today.help

    def command(self) -> click.Command:
        """Today's command under the old form."""
        today = self.today.command()
        arguments = [parameter for parameter in today.params if isinstance(parameter, click.Argument)]
        options = [parameter for parameter in today.params if isinstance(parameter, click.Option) and parameter.name not in self.fixed]

        def call(words: tuple[str, ...], **values: Any) -> None:
            self._check(words)
            converted = self.convert(words)
            for at, argument in enumerate(arguments):
                given = converted[at] if at < len(converted) else None
                values[str(argument.name)] = tuple(converted) if argument.nargs == -1 else given
            assert today.callback is not None
            today.callback(**values, **self.fixed)

        taken = click.Argument(["words"], nargs=-1, metavar=self.words)
        return click.Command(None, callback=call, params=[taken, *options], help=f"{self.help}\n\nThe form of Pachyderm 1.x.")

    def _check(self, given: Words) -> None:
        words = self.words.removesuffix("...").split()
        least = sum(not word.startswith("[") for word in words)
        if len(given) < least or (len(given) > len(words) and not self.words.endswith("...")):
            context = click.get_current_context()
            raise click.UsageError(f"'{context.command_path}' takes {self.words or 'no arguments'}; it got {' '.join(given) or 'none'}", context)


def as_given(words: Words) -> Words:
    """The words as they are."""
    return words


def reference(words: Words) -> Words:
    """`REPO REF PATH` as `REPO@REF:PATH`."""
    repo, *rest = words
    return (repo + "".join(mark + word for mark, word in zip("@:", rest, strict=False)),)


def on_master(words: Words) -> Words:
    """`REPO [BRANCH]` as `REPO@BRANCH`; 1.x opened a commit on no branch, here it is on master."""
    return reference(words if len(words) > 1 else (*words, "master"))


def two_references(words: Words) -> Words:
    """`REPO REF PATH REPO REF PATH` as two references; the second may be missing."""
    return (*reference(words[:3]), *(reference(words[3:]) if words[3:] else ()))


def with_slash(words: Words) -> Words:
    """Each `REPO/REF` as `REPO@REF`; a reference stays as it is."""
    return tuple(word if "@" in word else "@".join(word.rsplit("/", 1)) for word in words)
