"""Text that somebody wrote, as a terminal may get it."""

import re

# Control characters, those that end a line, and those that turn the direction of text: what moves a cursor or makes one line look like another.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""The text in one line: what controls a terminal is written as `\n` or `\x1b`. Other text is what it was."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)
