"""What is asked of an object of a cluster: values below paths, and conditions that are written as label selectors are."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, TypeAlias

from pachyderm_dagster.argo.go_values import scalar_text
from pachyderm_dagster.errors import ExecutionError, InvalidError

Document: TypeAlias = dict[str, Any]
_TERM = re.compile(r"\s*(?P<not>!?)(?P<path>[A-Za-z0-9_.\-/\\#@]+)\s*(?:(?P<operator>==|!=|=|>|<|\bin\b|\bnotin\b)\s*(?P<value>\([^)]*\)|[^,]*))?\s*(?:,|$)")
_STEP = re.compile(r"\.?(?:\['(?P<quoted>[^']+)'\]|\[(?P<index>-?\d+|\*)\]|(?P<name>[A-Za-z0-9_\-/]+))")
_NOTHING = object()


def holds(condition: str, document: Document) -> bool:
    """Whether all requirements of a condition hold: `status.phase == Done, status.replicas > 1`. What is not there equals nothing.

    Raises:
        InvalidError: `condition-invalid`.
    """
    return all(_holds(term, document) for term in _terms(condition))


def _terms(condition: str) -> Iterator[re.Match[str]]:
    at = 0
    while at < len(condition):
        found = _TERM.match(condition, at)
        if found is None or found.end() == at:
            raise InvalidError("condition-invalid", f"{condition!r} is no condition of an object; write it as 'status.phase == Done, status.ready > 0'")
        yield found
        at = found.end()


def _holds(term: re.Match[str], document: Document) -> bool:
    found = value_at(document, term["path"])
    operator = term["operator"]
    if operator is None:
        return (found is _NOTHING) is bool(term["not"])
    text = None if found is _NOTHING else scalar_text(found)
    wanted = term["value"].strip()
    match operator:
        case "in" | "notin":
            return (text in [one.strip() for one in wanted.strip("()").split(",")]) is (operator == "in")
        case ">" | "<":
            try:
                left, right = float(text or ""), float(wanted)
            except ValueError:
                return False
            return left > right if operator == ">" else left < right
        case _:
            return (text == wanted) is (operator != "!=")


def value_at(document: Any, path: str) -> Any:
    """What is below a path of names and numbers with points between."""
    for part in path.replace("\\.", "\0").split("."):
        name = part.replace("\0", ".")
        if isinstance(document, dict) and name in document:
            document = document[name]
        elif isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            return _NOTHING
    return document


def json_path(template: str, document: Document) -> str | None:
    """What a template of kubectl's JSONPath comes to: `{.status.phase}`, `{.items[*].name}`; None where something of it is not there.

    Raises:
        InvalidError: `json-path-invalid`.
    """
    parts = re.split(r"\{([^}]*)\}", template if "{" in template else f"{{{template}}}")
    found = []
    for number, part in enumerate(parts):
        if number % 2 == 0:
            found.append(part)
            continue
        values = _values(part, document)
        if not values:
            return None
        found.append(" ".join(map(scalar_text, values)))
    return "".join(found)


def _values(path: str, document: Any) -> list[Any]:
    values, at = [document], 0
    path = path.strip().removeprefix("$")
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None or step.end() == at:
            raise InvalidError("json-path-invalid", f"{path!r} is not understood at {path[at:]!r}; write it as '{{.status.items[0].name}}'")
        values = [below for value in values for below in _below(value, step)]
        at = step.end()
    return values


def _below(value: Any, step: re.Match[str]) -> list[Any]:
    name, index = step["quoted"] or step["name"], step["index"]
    if name is not None:
        return [value[name]] if isinstance(value, dict) and name in value else []
    if not isinstance(value, list):
        return []
    if index == "*":
        return value
    return value[int(index) :][:1]


def jq(program: str, document: Document) -> str | None:
    """What jq's program prints of a document, without the quotes of a string; None for null.

    Raises:
        ExecutionError: `jq-missing`.
        InvalidError: `jq-invalid`.
    """
    found = shutil.which("jq")
    if found is None:
        raise ExecutionError("jq-missing", "'jqFilter' needs the program 'jq', which is not on this machine; install it, or use 'jsonPath'")
    done = subprocess.run([found, "-r", f" {program}"], input=json.dumps(document), capture_output=True, text=True, check=False)
    if done.returncode:
        raise InvalidError("jq-invalid", f"{program!r} is no program of jq: {done.stderr.strip()}")
    text = done.stdout.removesuffix("\n")
    return None if text == "null" else text
