"""Which events of a dependency count, as Argo Events decides it."""

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pachyderm_dagster.argo import conditions
from pachyderm_dagster.argo.event_paths import NOTHING, bool_of, number_of, value_at
from pachyderm_dagster.argo.events import Event
from pachyderm_dagster.argo.go_templates import NO_VALUE, GoTemplate
from pachyderm_dagster.argo.go_values import scalar_text
from pachyderm_dagster.argo.sensors import OR, ContextFilter, DataFilter, Dependency, DependencyFilters, ExprFilter, TimeFilter
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import InvalidError

_COMPARED: Mapping[str, Callable[[float, float], bool]] = {
    "": lambda found, wanted: found == wanted,
    "=": lambda found, wanted: found == wanted,
    "!=": lambda found, wanted: found != wanted,
    ">=": lambda found, wanted: found >= wanted,
    ">": lambda found, wanted: found > wanted,
    "<": lambda found, wanted: found < wanted,
    "<=": lambda found, wanted: found <= wanted,
}
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])")
TYPES: Mapping[str, tuple[str, ...]] = {"bool": ("", "=", "!="), "number": tuple(_COMPARED), "string": ("", "=", "!=")}
"""The types of data filters, and the comparators of each."""


def why_left_out(dependency: Dependency, event: Event, clock: Clock) -> str | None:
    """Why an event does not count; None when it does."""
    filters = dependency.filters
    if filters is None:
        return None
    try:
        return _first(_kinds(filters, event, clock), dependency.filters_logical_operator)
    except InvalidError as error:
        # Argo leaves out what a filter makes nothing of.
        return error.message


def _kinds(filters: DependencyFilters, event: Event, clock: Clock) -> list[Callable[[], str | None]]:
    """The kinds of filters that are given, each as what tells why it fails."""
    found: list[Callable[[], str | None]] = []
    if filters.exprs:
        found.append(lambda: _first([_bound(_expr, one, event) for one in filters.exprs], filters.expr_logical_operator))
    if filters.data:
        found.append(lambda: _first([_bound(_data, one, event, clock) for one in filters.data], filters.data_logical_operator))
    if filters.context is not None:
        found.append(_bound(_context, filters.context, event))
    if filters.time is not None:
        found.append(_bound(_time, filters.time, event))
    return found


def _bound(check: Callable[..., str | None], *given: Any) -> Callable[[], str | None]:
    return lambda: check(*given)


def _first(checks: Sequence[Callable[[], str | None]], operator: str) -> str | None:
    """Why none of them holds, or why one of them does not; errors count when nothing else decides."""
    if operator != OR:
        return next((reason for check in checks if (reason := check()) is not None), None)
    reasons = []
    for check in checks:
        try:
            reason = check()
        except InvalidError as error:
            reason = error.message
        if reason is None:
            return None
        reasons.append(reason)
    return "; ".join(reasons) or None


def _data(wanted: DataFilter, event: Event, clock: Clock) -> str | None:
    found = value_at(event.data, wanted.path)
    if found is NOTHING:
        return f"there is no {wanted.path!r} in its data"
    if wanted.template:
        found = GoTemplate(wanted.template).render({"Input": scalar_text(found)}, clock)
        if found in ("", NO_VALUE):
            return f"the template {wanted.template!r} comes to nothing"
    if any(_fits(wanted, found, value) for value in wanted.value):
        return None
    return f"{wanted.path!r} is {scalar_text(found)!r}, and was to be {wanted.comparator or '='} {' or '.join(map(repr, wanted.value))}"


def _fits(wanted: DataFilter, found: Any, value: str) -> bool:
    match wanted.type:
        case "bool":
            return bool_of(found) is bool_of(value)
        case "number":
            return _COMPARED[wanted.comparator](number_of(found), float(value))
        case _:
            return (re.search(value, scalar_text(found)) is not None) is (wanted.comparator != "!=")


def _expr(wanted: ExprFilter, event: Event) -> str | None:
    variables = {}
    for one in wanted.fields:
        found = value_at(event.data, one.path)
        if found is NOTHING:
            return f"there is no {one.path!r} in its data"
        variables[one.name] = _numbers_of_go(found)
    return None if conditions.evaluate(wanted.expr, variables) else f"{wanted.expr!r} is false"


def _numbers_of_go(value: Any) -> Any:
    """Numbers of JSON are floats in Go."""
    if isinstance(value, list):
        return [_numbers_of_go(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _context(wanted: ContextFilter, event: Event) -> str | None:
    pairs: Iterable[tuple[str, str, str]] = (
        ("type", wanted.type, event.context.type),
        ("subject", wanted.subject, event.context.subject),
        ("source", wanted.source, event.context.source),
        ("datacontenttype", wanted.data_content_type, event.context.datacontenttype),
    )
    return next((f"its {name} is {found!r}, and was to be {value!r}" for name, value, found in pairs if value and value != found), None)


def _time(wanted: TimeFilter, event: Event) -> str | None:
    at = dt.datetime.fromisoformat(event.context.time).astimezone(dt.UTC).time()
    start, stop = time_of_day(wanted.start), time_of_day(wanted.stop)
    holds = start <= at < stop if start < stop else at >= start or at < stop
    return None if holds else f"it is of {at}, which is not from {wanted.start} to {wanted.stop}"


def time_of_day(text: str) -> dt.time:
    """A time as filters have it.

    Raises:
        InvalidError: `event-time-invalid`.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise InvalidError("event-time-invalid", f"{text!r} is no time of a day; write it as '08:30:00'")
    return dt.time.fromisoformat(text)
