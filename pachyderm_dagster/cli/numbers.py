"""How many versions `--history` asks for."""

import click

ALL = -1
DIGITS = 9  # of a number of versions; nobody has more


def number_of_versions(_context: click.Context, _option: click.Parameter, given: str | None) -> int | None:
    """Reads `--history`: a number of versions, ALL for `all` or pachctl's -1; None for pachctl's `none`, which is as good as no option."""
    match (given or "none").lower():
        case "none" | "0":
            return None
        case "all" | "-1":
            return ALL
        case number if number.isdecimal() and len(number) <= DIGITS:
            return int(number)
        case other:
            raise click.BadParameter(f"{other!r} is neither a number of up to {DIGITS} digits nor 'all'")
