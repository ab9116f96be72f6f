"""Which events count, and what workflows get of them."""

import datetime as dt
import json

import pytest

from pachyderm_dagster.argo.event_filters import why_left_out
from pachyderm_dagster.argo.event_parameters import given_by
from pachyderm_dagster.argo.event_paths import NOTHING, value_at
from pachyderm_dagster.argo.event_times import is_excluded, newest_time
from pachyderm_dagster.argo.events import Event, Origin, PutObject, bucket_event, calendar_event, webhook_event
from pachyderm_dagster.argo.go_templates import GoTemplate
from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import InvalidError
from tests.argo.event_files import read, sensor, source, trigger

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
CLOCK = ManualClock(NOON)
BODY = {"message": "hello", "count": 3, "ratio": 0.5, "ok": True, "none": None, "user": {"first.name": "ann"}, "list": [{"n": "a"}, {"n": "b"}]}
FILTERED = "- {{name: dep, eventSourceName: source, eventName: example, {}}}"


def event(body: object = BODY, *, at: dt.datetime = NOON) -> Event:
    return webhook_event(Origin("source", "example"), "0" * 32, at, {"X-Kind": ["push"]}, body, {})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("body.message", "hello"),
        ("body.list.1.n", "b"),
        ("body.list.#.n", ["a", "b"]),
        ("body.list.#", 2),
        ("body.user.first\\.name", "ann"),
        ("header.X-Kind.0", "push"),
        ("body.none", None),
        ("body.list.2.n", NOTHING),
        ("body.message.x", NOTHING),
    ],
)
def test_paths_are_those_of_gjson(path: str, value: object) -> None:
    assert value_at(event().data, path) == value


@pytest.mark.parametrize(
    ("filters", "counts"),
    [
        ("data: [{path: body.message, type: string, value: [hello]}]", True),
        ("data: [{path: body.message, type: string, value: [bye, ^hel]}]", True),
        ("data: [{path: body.message, type: string, value: [hello], comparator: '!='}]", False),
        ("data: [{path: body.count, type: number, value: ['2'], comparator: '>'}]", True),
        ("data: [{path: body.count, type: number, value: ['3'], comparator: '<'}]", False),
        ("data: [{path: body.ok, type: bool, value: ['true']}]", True),
        ("data: [{path: body.ok, type: bool, value: ['false']}]", False),
        ("data: [{path: body.missing, type: string, value: ['.*']}]", False),
        ("data: [{path: body.message, type: string, value: [HELLO], template: '{{ .Input | upper }}'}]", True),
        ("data: [{path: body.message, type: string, value: [no]}, {path: body.count, type: number, value: [3]}]", False),
        ("dataLogicalOperator: or, data: [{path: body.message, type: string, value: [no]}, {path: body.count, type: number, value: [3]}]", True),
        ("exprs: [{expr: 'm == \"hello\" && c > 2', fields: [{name: m, path: body.message}, {name: c, path: body.count}]}]", True),
        ("exprs: [{expr: 'c =~ \"a\"', fields: [{name: c, path: body.count}]}]", False),
        ("exprs: [{expr: 'm == other', fields: [{name: m, path: body.message}]}]", False),
        ("context: {type: webhook, subject: example, source: source}", True),
        ("context: {type: calendar}", False),
        ("time: {start: '11:00:00', stop: '12:00:00'}", False),
        ("time: {start: '12:00:00', stop: '12:00:01'}", True),
        ("time: {start: '22:00:00', stop: '13:00:00'}", True),
        ("time: {start: '13:00:00', stop: '11:00:00'}", False),
    ],
)
def test_filters_decide_as_those_of_argo_events(filters: str, *, counts: bool) -> None:
    found = trigger(source(), sensor(FILTERED.format(f"filters: {{{filters}}}")))
    assert (why_left_out(found.dependencies[0], event(), CLOCK) is None) is counts


def test_filters_of_several_kinds_are_joined_by_their_operator() -> None:
    filters = "filters: {context: {type: calendar}, data: [{path: body.count, type: number, value: [3]}]}"
    for operator, counts in (("", False), ("filtersLogicalOperator: and, ", False), ("filtersLogicalOperator: or, ", True)):
        found = trigger(source(), sensor(FILTERED.format(operator + filters)))
        assert (why_left_out(found.dependencies[0], event(), CLOCK) is None) is counts


def test_the_filter_of_a_source_is_over_the_data() -> None:
    found = trigger(source("webhook: {example: {endpoint: /e, method: POST, filter: {expression: 'body.count > 3'}}}"), sensor())
    dependency = found.dependencies[0]
    assert found.why_left_out(dependency, event({"count": 4}), CLOCK) is None
    assert found.why_left_out(dependency, event({"count": 3}), CLOCK) == "'body.count > 3' of its source is not true"
    assert "asked of nothing" in (found.why_left_out(dependency, event(None), CLOCK) or "")


@pytest.mark.parametrize(
    ("source_fields", "value"),
    [
        ("dataKey: body.message", "hello"),
        ("dataKey: body.count", "3"),
        ("dataKey: body.ratio", "0.5"),
        ("dataKey: body.ok", "true"),
        ("dataKey: body.none", "null"),
        ("dataKey: body.list", '[{"n":"a"},{"n":"b"}]'),
        ("dataKey: body.missing, value: instead", "instead"),
        ("contextKey: subject", "example"),
        ("contextKey: time", "2026-01-01T12:00:00Z"),
        ("contextTemplate: '{{ .Input.source }}/{{ .Input.subject }}'", "source/example"),
        ("dataTemplate: '{{ .Input.body.message | upper }}-{{ index .Input.body.list 1 }}'", "HELLO-map[n:b]"),
        ("dataTemplate: '{{ .Input.body.missing }}', dataKey: body.message", "hello"),
        ("dataTemplate: '{{ .Input.body.missing.x }}', value: instead", "instead"),
        ("value: always", "always"),
    ],
)
def test_a_parameter_gets_its_value(source_fields: str, value: str) -> None:
    found = trigger(source(), sensor(parameters=f"- {{src: {{dependencyName: dep, {source_fields}}}, dest: spec.arguments.parameters.0.value}}"))
    assert found.request_for({"dep": event()}, CLOCK).given.parameters == {"message": value}


def test_without_a_key_the_whole_event_is_the_value() -> None:
    found = trigger(source(), sensor(parameters="- {src: {dependencyName: dep}, dest: spec.arguments.parameters.0.value}"))
    whole = json.loads(found.request_for({"dep": event()}, CLOCK).given.parameters["message"])
    assert whole["context"]["subject"] == "example" and isinstance(whole["data"], str)


def test_a_value_that_is_not_there_is_an_error() -> None:
    found = trigger(source(), sensor())
    with pytest.raises(InvalidError, match=r"there is no 'body.message' in the data of the event; give a 'value' for events of dependency 'dep'"):
        found.request_for({"dep": event({})}, CLOCK)


def test_values_are_put_before_and_behind_what_is_there() -> None:
    parameters = """- {src: {dependencyName: dep, dataKey: body.message}, dest: spec.arguments.parameters.0.value, operation: prepend}
- {src: {dependencyName: dep, value: '!'}, dest: spec.arguments.parameters.0.value, operation: append}
- {src: {dependencyName: dep, dataKey: body.message}, dest: metadata.generateName, operation: append}
- {src: {dependencyName: dep, dataKey: body.count}, dest: metadata.labels.count}
- {src: {dependencyName: gone, dataKey: body.count}, dest: spec.arguments.parameters.1.value}"""
    found = trigger(source(), sensor(parameters=parameters.replace("gone", "dep")))
    starts = found.sensor.spec.triggers[0].template.starts
    assert starts is not None
    given = given_by(starts.parameters, found.workflow, {"dep": event()}, CLOCK)
    assert (given.parameters, given.name, given.labels) == ({"message": "hellonothing!", "unit": "3"}, "say-hello", {"count": "3"})
    # Of a dependency whose event did not come, as with `||`, nothing is set.
    assert given_by(starts.parameters[-1:], found.workflow, {}, CLOCK).parameters == {}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a {{ .Input.a }} b", "a x b"),
        ("a {{- .Input.a -}} b", "axb"),
        ("{{ .Input.a }} {{- .Input.a }} {{ .Input.a }}", "xx x"),
        ('{{ printf "%s-%d" .Input.a 3 }}', "x-3"),
        ("{{ (index .Input.l 0).n }}", "1"),
        ('{{ .Input.none | default "d" | quote }}', '"d"'),
        ("{{ len .Input.l }}", "1"),
        ("{{/* nothing */}}x", "x"),
        ("{{ .Input.none }}", "<no value>"),
    ],
)
def test_templates_are_those_of_go(text: str, shown: str) -> None:
    assert GoTemplate(text).render({"Input": {"a": "x", "l": [{"n": 1}], "none": None}}, CLOCK) == shown


@pytest.mark.parametrize(
    "text",
    [
        "{{ range .Input }}{{ end }}",
        "{{ .Input",
        "{{ $x := 1 }}",
        "{{ }}",
        "{{ .Input | 3 }}",
        "{{ nope .Input }}",
        "{{ (.Input }}",
        "{{ .Input .Input }}",
        r'{{ "\x41" }}',
    ],
)
def test_what_is_no_value_of_a_template_is_refused(text: str) -> None:
    with pytest.raises(InvalidError) as raised:
        GoTemplate(text)
    assert raised.value.code == "event-template-invalid"


def test_events_have_the_data_of_argo_events() -> None:
    zone = dt.timezone(dt.timedelta(hours=1), "CET")
    assert calendar_event(Origin("s", "e"), NOON, zone, {"a": "b"}).data == {"eventTime": "2026-01-01 13:00:00 +0100 CET", "metadata": {"a": "b"}}
    put = PutObject(key="in/a b.csv", etag="abc-2", size=3, time=NOON)
    found = bucket_event(Origin("s", "e"), "data", "", put, {}).data
    assert value_at(found, "notification.0.s3.object.key") == "in%2Fa+b.csv"
    assert value_at(found, "notification.0.s3.bucket.name") == "data"
    assert value_at(found, "notification.0.eventName") == "s3:ObjectCreated:CompleteMultipartUpload"


def test_times_of_a_calendar_are_on_the_clock_of_its_wall() -> None:
    _, library = read(source("calendar: {a: {schedule: '0 9 * * *', timezone: Europe/Berlin, exclusionDates: ['EXDATE:20260701T000000Z,20260702T000000Z']}}"))
    calendar = library.event_sources["source"].calendar["a"]
    assert newest_time(calendar, NOON, NOON + dt.timedelta(days=1)) == dt.datetime(2026, 1, 2, 8, tzinfo=dt.UTC)
    summer = dt.datetime(2026, 7, 1, 6, tzinfo=dt.UTC)
    assert newest_time(calendar, summer, summer + dt.timedelta(hours=1)) == dt.datetime(2026, 7, 1, 7, tzinfo=dt.UTC)
    assert is_excluded(calendar, dt.datetime(2026, 7, 2, 7, tzinfo=dt.UTC)) and not is_excluded(calendar, dt.datetime(2026, 7, 3, 7, tzinfo=dt.UTC))


def test_an_interval_counts_from_the_last_time() -> None:
    _, library = read(source("calendar: {a: {interval: 10m}}"))
    calendar = library.event_sources["source"].calendar["a"]
    assert newest_time(calendar, NOON, NOON + dt.timedelta(minutes=9)) is None
    assert newest_time(calendar, NOON, NOON + dt.timedelta(minutes=25)) == NOON + dt.timedelta(minutes=20)
