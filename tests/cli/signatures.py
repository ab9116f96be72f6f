"""What commands take, for completion, which imports none of them: `python -m tests.cli.signatures` writes it anew after options have changed."""

import json
from pathlib import Path
from typing import Any

import click

from pachyderm_dagster.cli import completing
from pachyderm_dagster.cli.table import COMMANDS

FILE = Path(completing.__file__).with_name("signatures.json")
NAMED = {
    "project": "PROJECT",
    "repo": "REPO",
    "pipeline": "PIPELINE",
    "secret": "SECRET",
    "src_project": "PROJECT",
    "dest_project": "PROJECT",
    "old_project": "PROJECT",
    "active": "PROJECT",
    "transaction": "TRANSACTION",
    "set_id": "JOBS",
    "datum": "DATUM",
    "context": ["home"],
}
"""What a parameter's own name says better than the placeholder in help."""
OPTIONAL_REFERENCE = {"[REPO[@REF]|ID]": "REPO@REF?|ID", "REPO[@REF]": "REPO@REF?", "REPO[@BRANCH]": "REPO@BRANCH?"}


def taken(parameter: click.Parameter) -> Any:
    """What may stand for an argument or an option's value: a placeholder, or the list of choices."""
    if isinstance(parameter.type, click.Choice):
        return list(parameter.type.choices)
    if isinstance(parameter.type, click.Path):
        return completing.FILE
    placeholder = parameter.metavar or ""
    if placeholder.startswith("PATH|") and parameter.name not in NAMED:
        return completing.FILE
    if parameter.name in NAMED and "@" not in placeholder and "^" not in placeholder:
        return NAMED[parameter.name]
    return OPTIONAL_REFERENCE.get(placeholder, placeholder)


def option_of(option: click.Option) -> dict[str, Any]:
    takes = None if option.is_flag else taken(option)
    return {"names": [*option.opts, *option.secondary_opts], "takes": takes, "help": option.help or ""}


def signature(command: click.Command) -> dict[str, Any]:
    """The arguments and the options that help shows."""
    options = [option_of(parameter) for parameter in command.params if isinstance(parameter, click.Option) and not parameter.hidden]
    options.append({"names": ["-h", "--help"], "takes": None, "help": "Show this message and exit."})
    return {"arguments": [taken(parameter) for parameter in command.params if isinstance(parameter, click.Argument)], "options": options}


def written() -> str:
    """The file as it should be."""
    lines = (f"  {json.dumps(words)}: {json.dumps(signature(entry.command()))}" for words, entry in COMMANDS.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(written())
