"""Groups whose commands are imported when they are called, so that no command pays for another."""

import copy
import difflib
import importlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import click

from pachyderm_dagster.cli.everywhere import pachctl_options

PACKAGE = "pachyderm_dagster.cli"


class Entry(Protocol):
    """A command before it is called: what it does in a line, and how to get it."""

    @property
    def help(self) -> str:
        """What the command does."""
        ...

    def command(self) -> click.Command:
        """The command, imported now."""
        ...


@dataclass(frozen=True, slots=True)
class Here:
    """A command of this package, at `module:attribute`."""

    target: str
    help: str

    def command(self) -> click.Command:
        command = copy.copy(load(f"{PACKAGE}.{self.target}"))
        assert isinstance(command, click.Command)
        command.params = [*command.params, *pachctl_options()]
        command.help = f"{self.help}\n\n{inspect.cleandoc(command.help or '')}"
        return command


def load(target: str) -> Any:
    """What `package.module:attribute` names, imported now: for what most calls of a command do without."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


class LazyGroup(click.Group):
    """A group over tables of commands.

    Args:
        entries: the commands, by name; a plural (`list repos`) finds them too.
        groups: groups below this one.
        unlisted: commands that work but are not shown.
        sections: what `--help` shows, with titles; the commands of the group when None.
    """

    def __init__(
        self,
        name: str,
        *,
        entries: Mapping[str, Entry],
        groups: Mapping[str, "LazyGroup"],
        unlisted: Mapping[str, Entry],
        sections: Mapping[str, Mapping[str, Entry]] | None = None,
        help: str,
    ) -> None:
        super().__init__(name, help=help, params=pachctl_options(), context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
        self._entries, self._groups, self._unlisted = entries, groups, unlisted
        self._sections = sections or {"Commands": entries}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._entries, *self._groups]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._groups:
            return self._groups[cmd_name]
        for name in singulars(cmd_name):
            entry = self._entries.get(name) or self._unlisted.get(name)
            if entry is not None:
                return entry.command()
        return None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None:
            near = difflib.get_close_matches(args[0], [*self.list_commands(ctx), *self._unlisted], n=3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"`{ctx.command_path} --help` lists the commands"
            raise click.UsageError(f"there is no command '{ctx.command_path} {args[0]}'; {hint}", ctx)
        return args[0], command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shown = {title: section for title, section in self._sections.items() if section}
        width = max((len(name) for section in shown.values() for name in section), default=0)
        for title, section in shown.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), entry.help) for name, entry in section.items()])


class CommandWithGroup(LazyGroup):
    """A group that is also a command, which is called when no command of the group is named.

    Args:
        alone: that command.
    """

    def __init__(self, name: str, *, alone: Entry, groups: Mapping[str, LazyGroup], unlisted: Mapping[str, Entry]) -> None:
        super().__init__(name, entries={}, groups=groups, unlisted=unlisted, help=alone.help)
        self._alone = alone

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any) -> click.Context:
        if args and not args[0].startswith("-"):
            return super().make_context(info_name, args, parent, **extra)
        return self._alone.command().make_context(info_name, args, parent, **extra)


def singulars(name: str) -> Iterable[str]:
    """A word, and what it may be the plural of."""
    return (name, name.removesuffix("s"), name.removesuffix("es"))
