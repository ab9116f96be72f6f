"""What is wrong with EventSources and Sensors, before any event comes: told with path and line."""

import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pachyderm_dagster.argo.checking_templates import told
from pachyderm_dagster.argo.depends import Both, Depends, Either, Name, names_in, parse_depends
from pachyderm_dagster.argo.event_filters import TYPES, time_of_day
from pachyderm_dagster.argo.event_parameters import APPEND, OVERWRITE, PREPEND, destination_of
from pachyderm_dagster.argo.event_paths import parts_of
from pachyderm_dagster.argo.event_sources import COMMITS, BucketSource, CalendarSource, EventFilter, EventSourceSpec, GenericSource, WebhookSource, branch_of
from pachyderm_dagster.argo.event_times import excluded_days, schedule_of, zone_of
from pachyderm_dagster.argo.events import PUT, UPLOADED
from pachyderm_dagster.argo.expression_parsing import parse_expression
from pachyderm_dagster.argo.go_templates import GoTemplate
from pachyderm_dagster.argo.kept_objects import can_be_kept_as
from pachyderm_dagster.argo.library import Library
from pachyderm_dagster.argo.names import joined
from pachyderm_dagster.argo.sensors import AND, OR, DataFilter, Dependency, DependencyFilters, TriggerParameter, TriggerTemplate
from pachyderm_dagster.argo.workflows import Metadata, Sensor, Workflow
from pachyderm_dagster.pps.object_names import NAME_RULE
from pachyderm_dagster.pps.strict import Place
from pachyderm_dagster.schedules import check_cron

_OPERATORS = ("", AND, OR)
_OPERATIONS = ("", OVERWRITE, APPEND, PREPEND)
_EVENT_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")


def check_event_source(metadata: Metadata, spec: EventSourceSpec, place: Place) -> None:
    """Does nothing when an EventSource can make events.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`.
    """
    if not metadata.name:
        raise place.field("metadata").field("name").invalid("required: Sensors know an EventSource by its name")
    if not can_be_kept_as(metadata.name):
        raise place.field("metadata").field("name").invalid(f"{metadata.name!r} names no EventSource; it takes {NAME_RULE}")
    place = place.field("spec")
    if not spec.names:
        raise place.invalid("there is nothing that makes events; give one of calendar, webhook, minio, generic")
    _check_unique(spec.names, place)
    for name, calendar in spec.calendar.items():
        _check_calendar(calendar, place.field("calendar").field(name))
    for name, webhook in spec.webhook.items():
        _check_webhook(name, webhook, place.field("webhook").field(name))
    for name, bucket in spec.minio.items():
        _check_bucket(bucket, place.field("minio").field(name))
    for name, generic in spec.generic.items():
        _check_generic(generic, place.field("generic").field(name))


def _check_calendar(calendar: CalendarSource, place: Place) -> None:
    if bool(calendar.schedule) is bool(calendar.interval):
        raise place.invalid("it has one of 'schedule' and 'interval'")
    told(place.field("schedule" if calendar.schedule else "interval"), lambda: check_cron(schedule_of(calendar)))
    if calendar.schedule.startswith("@"):
        raise place.field("schedule").invalid(f"expected five fields, found {calendar.schedule!r}; write '0 * * * *', or an 'interval'")
    told(place.field("timezone"), lambda: zone_of(calendar))
    told(place.field("exclusionDates"), lambda: excluded_days(calendar))
    _check_filter(calendar.filter, place)


def _check_webhook(name: str, webhook: WebhookSource, place: Place) -> None:
    if not _EVENT_NAME.fullmatch(name):
        raise place.invalid(f"{name!r} names no event here; it takes letters, digits, '-' and '_'")
    if not webhook.endpoint.startswith("/"):
        raise place.field("endpoint").invalid(f"expected a path as '/example', found {webhook.endpoint!r}")
    if webhook.method not in ("POST", "GET"):
        raise place.field("method").invalid(f"expected 'POST' or 'GET', found {webhook.method!r}")
    if webhook.port and not (webhook.port.isdecimal() and 0 < int(webhook.port) < 65536):
        raise place.field("port").invalid(f"expected a number from 1 to 65535, found {webhook.port!r}")
    _check_filter(webhook.filter, place)


def _check_bucket(bucket: BucketSource, place: Place) -> None:
    for index, wanted in enumerate(bucket.events):
        if not any(fnmatch.fnmatchcase(found, wanted) for found in (PUT, UPLOADED)):
            way_out = f"a bucket is listed, which shows what was put there; write 's3:ObjectCreated:*', {PUT!r} or {UPLOADED!r}"
            raise place.field("events").item(index).unsupported(way_out)


def _check_generic(generic: GenericSource, place: Place) -> None:
    if not generic.url.startswith(COMMITS):
        raise place.field("url").unsupported("no server is asked; commits of a branch are 'pfs://REPO@BRANCH', anything else can be sent to a `webhook`")
    told(place.field("url"), lambda: branch_of(generic))
    _check_filter(generic.filter, place)


def _check_filter(found: EventFilter | None, place: Place) -> None:
    if found is not None and found.expression:
        told(place.field("filter").field("expression"), lambda: parse_expression(found.expression))


def check_sensor(sensor: Sensor, place: Place, library: Library) -> None:
    """Does nothing when a Sensor can start its workflows, apart from what these are themselves.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`.
    """
    spec = sensor.spec
    for field, count in (("dependencies", len(spec.dependencies)), ("triggers", len(spec.triggers))):
        if not count:
            raise place.field(field).invalid("required, but not given")
    known = {one.name: one for one in spec.dependencies}
    _check_unique([one.name for one in spec.dependencies], place.field("dependencies"))
    for index, dependency in enumerate(spec.dependencies):
        _check_dependency(dependency, place.field("dependencies").item(index), library)
    _check_unique([one.template.name for one in spec.triggers], place.field("triggers"))
    for index, (trigger, workflow) in enumerate(zip(spec.triggers, sensor.workflows, strict=True)):
        _check_trigger(trigger.template, workflow, known, place.field("triggers").item(index).field("template"))


def _check_unique(names: Iterable[str], place: Place) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise place.invalid(f"the name {name!r} is given {count} times; a name is given once")


def _check_dependency(dependency: Dependency, place: Place, library: Library) -> None:
    source = library.event_sources.get(dependency.event_source_name)
    if source is None:
        there = joined(sorted(library.event_sources))
        raise place.field("eventSourceName").invalid(
            f"there is no EventSource {dependency.event_source_name!r}; there are: {there}; give the file that it is in too"
        )
    if source.find(dependency.event_name) is None:
        found = joined(source.names)
        raise place.field("eventName").invalid(
            f"the EventSource {dependency.event_source_name!r} makes no event {dependency.event_name!r}; those that it makes: {found}"
        )
    _check_word(dependency.filters_logical_operator, _OPERATORS, place.field("filtersLogicalOperator"))
    if dependency.filters is not None:
        _check_filters(dependency.filters, place.field("filters"))


def _check_word(word: str, known: Sequence[str], place: Place) -> None:
    if word not in known:
        raise place.invalid(f"expected {' or '.join(repr(one) for one in known if one)}, found {word!r}")


def _check_filters(filters: DependencyFilters, place: Place) -> None:
    _check_word(filters.data_logical_operator, _OPERATORS, place.field("dataLogicalOperator"))
    _check_word(filters.expr_logical_operator, _OPERATORS, place.field("exprLogicalOperator"))
    for index, data in enumerate(filters.data):
        _check_data(data, place.field("data").item(index))
    for index, expr in enumerate(filters.exprs):
        here = place.field("exprs").item(index)
        if not expr.fields:
            raise here.field("fields").invalid("required, but not given: an expression is over values of the data")
        for number, one in enumerate(expr.fields):
            told(here.field("fields").item(number).field("path"), lambda one=one: parts_of(one.path))  # type: ignore[misc]
    if filters.time is not None:
        for field, text in (("start", filters.time.start), ("stop", filters.time.stop)):
            told(place.field("time").field(field), lambda text=text: time_of_day(text))  # type: ignore[misc]


def _check_data(data: DataFilter, place: Place) -> None:
    told(place.field("path"), lambda: parts_of(data.path))
    _check_word(data.type, tuple(TYPES), place.field("type"))
    _check_word(data.comparator, TYPES[data.type], place.field("comparator"))
    if not data.value:
        raise place.field("value").invalid("required, but not given")
    if data.template:
        told(place.field("template"), lambda: GoTemplate(data.template))
    for index, value in enumerate(data.value):
        here = place.field("value").item(index)
        try:
            if data.type == "number":
                float(value)
            elif data.type == "string":
                re.compile(value)
        except (ValueError, re.error) as error:
            raise here.invalid(f"{value!r} is no {'number' if data.type == 'number' else 'regular expression'}: {error}") from error


def _check_trigger(template: TriggerTemplate, workflow: Workflow, known: Mapping[str, Dependency], place: Place) -> None:
    found = told(place.field("conditions"), lambda: condition_of(template, list(known)))
    for name in names_in(found):
        if name not in known:
            raise place.field("conditions").invalid(f"there is no dependency {name!r}; there are: {joined(list(known))}")
    if not _is_plain(found):
        raise place.field("conditions").invalid(f"expected names of dependencies, '&&', '||' and parentheses, found {template.conditions!r}")
    kind, operation, other = ("argoWorkflow", "submit", template.argo_workflow) if template.argo_workflow else ("k8s", "create", template.k8s)
    assert other is not None
    here = place.field(kind)
    if other.operation not in ("", operation):
        raise here.field("operation").unsupported(f"a trigger starts a workflow; write {operation!r}")
    for index, parameter in enumerate(other.parameters):
        _check_parameter(parameter, workflow, known, here.field("parameters").item(index))


def condition_of(template: TriggerTemplate, dependencies: Sequence[str]) -> Depends:
    """After which events a trigger starts its workflow.

    Raises:
        InvalidError: `depends-invalid`.
    """
    return parse_depends(template.conditions or " && ".join(dependencies), field="conditions")


def _is_plain(found: Depends) -> bool:
    match found:
        case Name(result=result):
            return not result
        case Both(left, right) | Either(left, right):
            return _is_plain(left) and _is_plain(right)
        case _:
            return False


def _check_parameter(parameter: TriggerParameter, workflow: Workflow, known: Mapping[str, Dependency], place: Place) -> None:
    source, here = parameter.src, place.field("src")
    if source.dependency_name not in known:
        raise here.field("dependencyName").invalid(f"there is no dependency {source.dependency_name!r}; there are: {joined(list(known))}")
    for field, path in (("contextKey", source.context_key), ("dataKey", source.data_key)):
        if path:
            told(here.field(field), lambda path=path: parts_of(path))  # type: ignore[misc]
    for field, template in (("contextTemplate", source.context_template), ("dataTemplate", source.data_template)):
        if template:
            told(here.field(field), lambda template=template: GoTemplate(template))  # type: ignore[misc]
    _check_word(parameter.operation, _OPERATIONS, place.field("operation"))
    told(place.field("dest"), lambda: destination_of(parameter.dest, workflow))
