"""The functions that expressions may call: those of expr-lang, Argo's own, and `sprig`."""

import base64
import datetime as dt
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from pachyderm_dagster.argo.go_times import format_go
from pachyderm_dagster.argo.go_values import json_text, printed, scalar_text
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.durations import parse_duration


def functions(clock: Clock) -> dict[str, Any]:
    """All of them by name; `sprig` is a map of its own. Time and new ids come from the clock."""
    return {**_BUILTINS, "now": clock.now, "sprig": _Sprig({**_SPRIG, "now": clock.now, "uuidv4": lambda: _uuid(clock.new_id())})}


def sprig_names() -> frozenset[str]:
    """The names of the functions of `sprig`."""
    return frozenset((*_SPRIG, "now", "uuidv4"))


class _Sprig(dict[str, Any]):
    """Tells the name that it does not have."""

    def get(self, key: str, default: Any = None) -> Any:
        if key not in self:
            raise ValueError(f"sprig.{key} is not one of the functions that there are: {', '.join(sorted(self))}")
        return self[key]


def _uuid(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _as_int(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError(f"{value!r} is no number")
    return int(value.strip()) if isinstance(value, str) else int(value)


def _as_float(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(f"{value!r} is no number")
    return float(value)


_PATH_PART = re.compile(r"\.(?P<name>[\w-]+|\*)|\[(?P<index>-?\d+|\*)\]|\['(?P<single>[^']*)'\]|\[\"(?P<double>[^\"]*)\"\]")


def jsonpath(text: str, path: str) -> Any:
    """What `path`, as `$.a[0]['b'].*`, names in a JSON text; a list where it has a `*`."""
    if not path.startswith("$"):
        raise ValueError(f"the path {path!r} does not begin with '$'")
    found, many, at = [json.loads(text)], False, 1
    while at < len(path):
        part = _PATH_PART.match(path, at)
        if part is None:
            raise ValueError(f"{path[at:]!r} in the path {path!r} is not understood; write '.name', '[0]', \"['name']\" or '[*]'")
        at = part.end()
        if "*" in (part["name"], part["index"]):
            many = True
            found = [inner for one in found for inner in (one.values() if isinstance(one, dict) else one)]
        else:
            key = int(part["index"]) if part["index"] else part["name"] or part["single"] or part["double"] or ""
            found = [one[key] for one in found]
    return found if many else found[0]


def _sorted(items: Any) -> list[Any]:
    return sorted(items)


def _round(value: float) -> float:
    return math.copysign(math.floor(abs(value) + 0.5), value)


def _go_int_divided(left: Any, right: Any) -> int:
    quotient = abs(_whole(left)) // abs(_whole(right))
    return quotient if (_whole(left) < 0) is (_whole(right) < 0) else -quotient


def _go_int_remainder(left: Any, right: Any) -> int:
    return int(math.fmod(_whole(left), _whole(right)))


def _whole(value: Any) -> int:
    """What sprig makes a whole number of: of what is none, 0."""
    try:
        return int(float(value))
    except (TypeError, ValueError):
        return 0


def _sum(*values: Any) -> int:
    return sum(map(_whole, values))


def _product(*values: Any) -> int:
    return math.prod(map(_whole, values))


def _is_empty(value: Any) -> bool:
    return value in (None, "", 0, False) or (isinstance(value, list | dict | tuple) and not value)


def _dict(*entries: Any) -> dict[str, Any]:
    return {str(key): value for key, value in zip(entries[::2], [*entries[1::2], ""], strict=False)}


def _title(text: str) -> str:
    return re.sub(r"(^|\s)(\S)", lambda found: found[1] + found[2].upper(), text)


def _go_replacement(text: str) -> str:
    return re.sub(r"\$\{(\w+)\}|\$(\w+)", lambda found: rf"\g<{found[1] or found[2]}>", text.replace("\\", "\\\\"))


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[0] if match else ""


def _limited(items: list[str], most: int) -> list[str]:
    return items if most < 0 else items[:most]


def _substring(start: int, end: int, text: str) -> str:
    if start < 0:
        return text[:end]
    return text[start:] if end < 0 or end > len(text) else text[start:end]


def _truncated(most: int, text: str) -> str:
    return text[:most] if most >= 0 else text[most:]


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _joined(separator: str, items: Any) -> str:
    return separator.join(printed(item) for item in items) if isinstance(items, list | tuple) else printed(items)


def _first(items: Any) -> Any:
    return items[0] if items else None


def _last(items: Any) -> Any:
    return items[-1] if items else None


_BUILTINS: Mapping[str, Callable[..., Any]] = {
    "asInt": _as_int,
    "asFloat": _as_float,
    "jsonpath": jsonpath,
    "toJson": json_text,
    "toJSON": json_text,
    "fromJSON": json.loads,
    "toBase64": _encoded,
    "fromBase64": _decoded,
    "duration": lambda text: dt.timedelta(seconds=parse_duration(text)),
    "len": len,
    "string": lambda value: printed(value) if value is None else scalar_text(value),
    "int": _as_int,
    "float": _as_float,
    "abs": abs,
    "ceil": lambda value: float(math.ceil(value)),
    "floor": lambda value: float(math.floor(value)),
    "round": _round,
    "max": max,
    "min": min,
    "sum": sum,
    "keys": lambda value: list(value),
    "values": lambda value: list(value.values()),
    "first": _first,
    "last": _last,
    "reverse": lambda value: list(reversed(value)),
    "sort": _sorted,
    "trim": lambda text, characters=None: text.strip(characters),
    "trimPrefix": lambda text, prefix: text.removeprefix(prefix),
    "trimSuffix": lambda text, suffix: text.removesuffix(suffix),
    "upper": str.upper,
    "lower": str.lower,
    "split": lambda text, separator, most=-1: text.split(separator, most - 1 if most > 0 else -1),
    "join": lambda items, separator="": separator.join(items),
    "replace": lambda text, old, new: text.replace(old, new),
    "repeat": lambda text, count: text * count,
    "hasPrefix": str.startswith,
    "hasSuffix": str.endswith,
    "indexOf": str.find,
    "lastIndexOf": str.rfind,
}
_SPRIG: Mapping[str, Callable[..., Any]] = {
    "trim": str.strip,
    "trimAll": lambda characters, text: text.strip(characters),
    "trimPrefix": lambda prefix, text: text.removeprefix(prefix),
    "trimSuffix": lambda suffix, text: text.removesuffix(suffix),
    "upper": str.upper,
    "lower": str.lower,
    "title": _title,
    "default": lambda default, value=None: default if _is_empty(value) else value,
    "empty": _is_empty,
    "coalesce": lambda *values: next((value for value in values if not _is_empty(value)), None),
    "ternary": lambda then, otherwise, condition: then if condition else otherwise,
    "int": _whole,
    "int64": _whole,
    "atoi": _whole,
    "float64": lambda value: float(value) if not isinstance(value, str) or re.fullmatch(r"\s*[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?\s*", value) else 0.0,
    "toString": printed,
    "add": _sum,
    "add1": lambda value: _whole(value) + 1,
    "sub": lambda left, right: _whole(left) - _whole(right),
    "mul": _product,
    "div": _go_int_divided,
    "mod": _go_int_remainder,
    "max": lambda *values: max(map(_whole, values)),
    "min": lambda *values: min(map(_whole, values)),
    "splitList": lambda separator, text: text.split(separator) if separator else list(text),
    "join": _joined,
    "replace": lambda old, new, text: text.replace(old, new),
    "repeat": lambda count, text: text * count,
    "substr": _substring,
    "trunc": _truncated,
    "quote": lambda *values: " ".join(json.dumps(printed(value), ensure_ascii=False) for value in values if value is not None),
    "squote": lambda *values: " ".join(f"'{printed(value)}'" for value in values if value is not None),
    "indent": lambda blanks, text: " " * blanks + text.replace("\n", "\n" + " " * blanks),
    "contains": lambda part, text: part in text,
    "hasPrefix": lambda prefix, text: text.startswith(prefix),
    "hasSuffix": lambda suffix, text: text.endswith(suffix),
    "regexMatch": lambda pattern, text: re.search(pattern, text) is not None,
    "regexFind": _found,
    "regexFindAll": lambda pattern, text, most: _limited([found[0] for found in re.finditer(pattern, text)], most),
    "regexReplaceAll": lambda pattern, text, new: re.sub(pattern, _go_replacement(new), text),
    "regexReplaceAllLiteral": lambda pattern, text, new: re.sub(pattern, lambda _: new, text),
    "regexSplit": lambda pattern, text, most: re.split(pattern, text, maxsplit=max(most - 1, 0)) if most else [],
    "b64enc": _encoded,
    "b64dec": _decoded,
    "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "date": format_go,
    "toJson": json_text,
    "fromJson": json.loads,
    "first": _first,
    "last": _last,
    "list": lambda *values: list(values),
    "dict": _dict,
    "get": lambda entries, key: entries.get(key, ""),
    "keys": lambda entries: list(entries),
    "has": lambda item, items: item in items,
}
