"""How many versions `--history` asks for."""

import click

ALL = -1
DIGITS = 9  # of a number of versions; nobody has more


def number_of_versions(context: click.Context, option: click.Parameter, given: str | None) -> int | None:
    """Reads `--history` where the newest version is always shown: as `versions_back`, but None for 0 too, which is as good as no option."""
    return versions_back(context, option, given) or None


def versions_back(_context: click.Context, _option: click.Parameter, given: str | None) -> int | None:
    """Reads `--history`: a number of versions, ALL for `all` or pachctl's -1; None without it, and for pachctl's `none`."""
    match (given or "none").lower():
        case "none":
            return None
        case "all" | "-1":
            return ALL
        case number if number.isdecimal() and len(number) <= DIGITS:
            return int(number)
        case other:
            raise click.BadParameter(f"{other!r} is neither a number of up to {DIGITS} digits nor 'all'")
