"""One step as several: the items of `withItems`, `withParam` and `withSequence`, and their outputs put together."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pachyderm_dagster.argo.go_values import json_text, scalar_text
from pachyderm_dagster.argo.templates import Numbers, Step
from pachyderm_dagster.errors import InvalidError

MOST_ITEMS = 1_000_000
_FORMAT = re.compile(r"%(?P<flags>[-+ 0#]*)(?P<width>\d*)(?:\.(?P<precision>\d+))?(?P<verb>[dxXobcqUveEfgG%])")


def items_of(step: Step) -> list[Any] | None:
    """The items of a step whose tags were replaced, one node each; None for a step that is no fan-out.

    Raises:
        InvalidError: `items-invalid`.
    """
    if step.with_items is not None:
        return list(step.with_items)
    if step.with_param is not None:
        return _from_json(step.with_param)
    if step.with_sequence is not None:
        return list(_numbers(step.with_sequence))
    return None


def _from_json(text: str) -> list[Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidError("items-invalid", f"withParam is no JSON: {text[:100]!r} ({error}); it is to be a list, as '[\"a\", 1]'") from error
    if not isinstance(found, list):
        raise InvalidError("items-invalid", f"withParam is no list: {text[:100]!r}; it is to be one, as '[\"a\", 1]'")
    return found


def _numbers(sequence: Numbers) -> Iterable[str]:
    start = _whole(sequence.start, "start") if sequence.start else 0
    if sequence.count:
        count = _whole(sequence.count, "count")
        found = range(start, start + count)
    else:
        end = _whole(sequence.end or "0", "end")
        found = range(start, end + 1) if start <= end else range(start, end - 1, -1)
    if len(found) > MOST_ITEMS:
        raise InvalidError("items-invalid", f"withSequence has {len(found):,} items; at most {MOST_ITEMS:,} are run")
    for number in found:
        yield format_number(sequence.format, number) if sequence.format else str(number)


def _whole(text: str, field: str) -> int:
    try:
        return int(text, 0) if not text.lstrip("-").startswith("0") else int(text)
    except ValueError as error:
        raise InvalidError("items-invalid", f"withSequence.{field} is {text!r}; it is to be a whole number") from error


def format_number(format: str, number: int) -> str:
    """A number as Go's printf writes it in a format.

    Raises:
        InvalidError: `items-invalid`.
    """
    if not _FORMAT.search(format):
        raise InvalidError("items-invalid", f"withSequence.format is {format!r}; it is to have one number, as '%02d'")
    return _FORMAT.sub(lambda found: _formatted(found, number), format)


def _formatted(found: re.Match[str], number: int) -> str:
    verb = {"v": "d", "U": "X", "q": "c"}.get(found["verb"], found["verb"])
    if verb == "%":
        return "%"
    if verb in "eEfgG":
        # Go's printf says so of a whole number under a verb for others.
        return f"%!{verb}(int={number})"
    if verb == "c":
        return chr(number)
    sign = "+" if "+" in found["flags"] else " " if " " in found["flags"] else ""
    digits = format(abs(number), verb)
    if found["precision"]:
        digits = digits.zfill(int(found["precision"]))
    digits = ("-" if number < 0 else sign) + digits
    width = int(found["width"] or 0)
    if "-" in found["flags"]:
        return digits.ljust(width)
    return digits.zfill(width) if "0" in found["flags"] else digits.rjust(width)


def item_values(item: Any) -> dict[str, str]:
    """What `{{item}}` and `{{item.KEY}}` stand for."""
    found = {"item": scalar_text(item)}
    if isinstance(item, dict):
        found |= {f"item.{key}": scalar_text(value) for key, value in item.items()}
    return found


def aggregated_results(results: Iterable[str | None]) -> str:
    """The results of a fan-out as one JSON list; those of nodes without one are left out.

    Raises:
        InvalidError: `result-invalid`, for one that is no JSON, as a plain word is.
    """
    return json_text([_as_json(result) for result in results if result is not None])


def _as_json(result: str) -> Any:
    try:
        return json.loads(result)
    except ValueError as error:
        message = f"the result {result[:60]!r} of one of several is no JSON ({error}), and a list of them is asked for; print text in quotes, or use an output"
        raise InvalidError("result-invalid", message) from error


def aggregated_parameters(outputs: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The output parameters of a fan-out: by name a JSON list each, and under no name a JSON list of maps.

    Where every value of a name is a JSON object or list, they are that in the list; otherwise they are strings.
    """
    found = [dict(one) for one in outputs]
    names = dict.fromkeys(name for one in found for name in one)
    by_name = {name: _list_of([one[name] for one in found if name in one]) for name in names}
    return {"": json_text(found), **by_name}


def _list_of(values: list[str]) -> str:
    decoded = [_structure(value) for value in values]
    return json_text(values if any(value is None for value in decoded) else decoded)


def _structure(value: str) -> Any:
    try:
        found = json.loads(value)
    except ValueError:
        return None
    return found if isinstance(found, list | dict) else None
