"""Cuts the small languages of workflows into tokens."""

import re
from collections.abc import Callable, Iterator


def find_tokens(pattern: re.Pattern[str], text: str, refuse: Callable[[str], Exception]) -> Iterator[re.Match[str]]:
    """The tokens of a text, one behind the other; the pattern takes the blanks before each. `refuse` makes the error of what is none, by its text."""
    at, end = 0, len(text.rstrip())
    while at < end:
        match = pattern.match(text, at)
        if match is None:
            raise refuse(text[at:].strip())
        yield match
        at = match.end()
