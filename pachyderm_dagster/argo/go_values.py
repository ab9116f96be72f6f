"""Plain values as Go writes them: numbers, JSON, and what `fmt` prints."""

import json
import math
from decimal import Decimal
from typing import Any


def number_text(value: float) -> str:
    """A number as Go's JSON has it: `1.5`, `3` for 3.0, `1e+21`.

    Args:
        value: an int, or a float that is finite.
    """
    if isinstance(value, int):
        return str(value)
    if value and not 1e-6 <= abs(value) < 1e21:
        mantissa, _, exponent = repr(value).partition("e")
        if not exponent:
            mantissa, _, exponent = f"{value:e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:].lstrip('0').zfill(2)}"
    if value == math.floor(value):
        return str(int(value))
    text = repr(value)
    return f"{Decimal(text):f}" if "e" in text else text


def json_text(value: Any) -> str:
    """A value as JSON without blanks, its numbers as Go writes them and its keys in their order."""
    match value:
        case bool() | None:
            return json.dumps(value)
        case int() | float():
            return number_text(value)
        case dict():
            return "{" + ",".join(f"{_quoted(str(key))}:{json_text(value[key])}" for key in sorted(value)) + "}"
        case list() | tuple():
            return "[" + ",".join(map(json_text, value)) + "]"
        case _:
            return _quoted(str(value))


def scalar_text(value: Any) -> str:
    """A string as it is, everything else as JSON."""
    return value if isinstance(value, str) else json_text(value)


def printed(value: Any) -> str:
    """A value as Go's `fmt` prints it: `[1 2]`, `map[a:1]`, `<nil>`."""
    match value:
        case None:
            return "<nil>"
        case list() | tuple():
            return "[" + " ".join(map(printed, value)) + "]"
        case dict():
            return "map[" + " ".join(f"{key}:{printed(value[key])}" for key in sorted(value)) + "]"
        case _:
            return scalar_text(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
