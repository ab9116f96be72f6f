"""EventSources and Sensors, read strictly."""

import pytest

from pachyderm_dagster.argo.events import Origin
from pachyderm_dagster.argo.kept_requests import branch_of_requests
from pachyderm_dagster.argo.reading import parse_objects
from pachyderm_dagster.argo.workflows import Sensor
from pachyderm_dagster.errors import InvalidError
from tests.argo.event_files import DEPENDENCY, PARAMETER, read, sensor, source

ALL = """calendar:
  hourly: {schedule: "0 * * * *", timezone: Europe/Berlin, exclusionDates: ["EXDATE:20260101T000000Z"], metadata: {why: clock}}
  often: {interval: 10s, filter: {expression: 'eventTime != ""'}}
webhook:
  example: {port: "12000", endpoint: /example, method: POST, authSecret: {name: token, key: t}, filter: {expression: 'body.id == "4"'}}
minio:
  put:
    bucket: {name: data}
    endpoint: localhost:9000
    insecure: true
    events: ["s3:ObjectCreated:*"]
    filter: {prefix: in/, suffix: .csv}
    accessKey: {name: keys, key: access}
    secretKey: {name: keys, key: secret}
generic:
  commits: {url: "pfs://images@master", insecure: true, jsonBody: true}"""


def refused(*texts: str) -> InvalidError:
    with pytest.raises(InvalidError) as raised:
        read(*texts)
    return raised.value


def test_all_kinds_of_sources_and_both_kinds_of_triggers_are_read() -> None:
    dependencies = "\n".join(f"- {{name: {name}, eventSourceName: source, eventName: {name}}}" for name in ("hourly", "often", "example", "put", "commits"))
    parameters = PARAMETER.replace("dep,", "example,")
    conditions = "hourly && (often || example) || put && commits"
    for kind, operation in (("argoWorkflow", "submit"), ("k8s", "create")):
        found, library = read(source(ALL), sensor(dependencies, parameters, conditions=conditions, operation=operation, kind=kind))
        assert [one.kind for one in found] == ["EventSource", "Sensor"]
        assert library.event_sources["source"].names == ["hourly", "often", "example", "put", "commits"]
        assert isinstance(found[1].object, Sensor) and found[1].object.workflows[0].metadata.generate_name == "say-"


def test_what_does_nothing_here_is_told() -> None:
    notes: list[str] = []
    text = source() + "  eventBusName: other\n  service: {ports: [{port: 12000}]}\n"
    parse_objects(text, source="e.yaml", notes=notes)
    assert [note.split(";")[0] for note in notes] == ["e.yaml:6: spec.eventBusName: without effect", "e.yaml:7: spec.service: without effect"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("amqp: {a: {}}", "e.yaml:5: spec.amqp: not supported; have it sent to a `webhook`"),
        ("webhok: {}", "e.yaml:5: spec.webhok: unknown field; did you mean 'webhook'?"),
        ("eventBusName: a", "spec: there is nothing that makes events"),
        ("calendar: {a: {}}", "spec.calendar.a: it has one of 'schedule' and 'interval'"),
        ("calendar: {a: {schedule: '61 * * * *'}}", "spec.calendar.a.schedule: '61 * * * *' is no schedule"),
        ("calendar: {a: {schedule: '@hourly'}}", "spec.calendar.a.schedule: expected five fields"),
        ("calendar: {a: {interval: soon}}", "spec.calendar.a.interval: '@every soon' is no schedule"),
        ("calendar: {a: {interval: 1h, timezone: Mars}}", "spec.calendar.a.timezone: 'Mars' is no timezone"),
        ("calendar: {a: {interval: 1h, exclusionDates: ['2026-01-01']}}", "spec.calendar.a.exclusionDates: '2026-01-01' is no day"),
        ("webhook: {a: {endpoint: a, method: POST}}", "spec.webhook.a.endpoint: expected a path"),
        ("webhook: {a: {endpoint: /a, method: PUT}}", "spec.webhook.a.method: expected 'POST' or 'GET'"),
        ("webhook: {a: {endpoint: /a, method: GET, port: '99999'}}", "spec.webhook.a.port: expected a number"),
        ("webhook: {a.b: {endpoint: /a, method: GET}}", "names no event here"),
        ("webhook: {a: {endpoint: /a, method: GET, filter: {expression: '('}}}", "spec.webhook.a.filter.expression: "),
        ("webhook: {a: {endpoint: /a, method: GET, serverKeySecret: {name: a, key: b}}}", "spec.webhook.a.serverKeySecret: not supported; let a proxy"),
        ("minio: {a: {bucket: {name: b}, events: ['s3:ObjectRemoved:*']}}", "spec.minio.a.events[0]: not supported; a bucket is listed"),
        ("minio: {a: {}}", "spec.minio.a.bucket: required"),
        ("generic: {a: {url: 'host:50051'}}", "spec.generic.a.url: not supported; no server is asked"),
        ("generic: {a: {url: 'pfs://a/b/c'}}", "spec.generic.a.url: 'b/c' cannot name a repo"),
        ("generic: {a: {url: 'pfs://a@master:/x'}}", "names a file"),
        ("calendar: {a: {interval: 1h}}\ngeneric: {a: {url: 'pfs://a'}}", "the name 'a' is given 2 times"),
    ],
)
def test_what_is_wrong_with_a_source_is_told(text: str, said: str) -> None:
    assert said in refused(source(text)).message


FILTERED = "- {{name: dep, eventSourceName: source, eventName: example, filters: {{{}}}}}"


@pytest.mark.parametrize("name", ["Source", "a_b", "a..b", "a.-b", "-a"])
def test_source_whose_name_no_object_can_have_is_refused(name: str) -> None:
    text = source("webhook: {a: {endpoint: /a, method: GET}}").replace("name: source", f"name: {name}")
    assert f"metadata.name: '{name}' names no EventSource" in refused(text).message


def test_sources_whose_names_differ_in_a_dot_share_no_repo() -> None:
    repos = {branch_of_requests(Origin(name, "event")).repo.name for name in ("a.b", "a-b", "a.b.c", "a-b.c")}
    assert repos == {"argo-events-a_b", "argo-events-a-b", "argo-events-a_b_c", "argo-events-a-b_c"}


@pytest.mark.parametrize(
    ("dependency", "said"),
    [
        ("- {name: dep, eventSourceName: other, eventName: example}", "dependencies[0].eventSourceName: there is no EventSource 'other'; there are: 'source'"),
        ("- {name: dep, eventSourceName: source, eventName: exampel}", "makes no event 'exampel'; those that it makes: 'example'"),
        (f"{DEPENDENCY}\n{DEPENDENCY}", "spec.dependencies: the name 'dep' is given 2 times"),
        ("- {name: dep, eventSourceName: source, eventName: example, transform: {jq: .}}", "transform: not supported"),
        (FILTERED.format("script: return true"), "filters.script: not supported; nothing here runs Lua"),
        (FILTERED.format("data: [{path: a, type: text, value: [a]}]"), "filters.data[0].type: expected 'bool' or 'number' or 'string', found 'text'"),
        (FILTERED.format("data: [{path: a, type: string, value: ['(']}]"), "value[0]: '(' is no regular expression"),
        (FILTERED.format("data: [{path: a, type: number, value: [a]}]"), "value[0]: 'a' is no number"),
        (FILTERED.format("data: [{path: a, type: number, value: [1], comparator: '~'}]"), "comparator: expected '=' or '!=' or '>='"),
        (FILTERED.format("data: [{path: 'a.#(b==1)', type: string, value: [a]}]"), "path: '(' in the path 'a.#(b==1)' is not supported"),
        (FILTERED.format("data: [{path: a, type: string, value: [a], template: '{{ if .Input }}'}]"), "'if' is not supported"),
        (FILTERED.format("dataLogicalOperator: xor"), "dataLogicalOperator: expected 'and' or 'or', found 'xor'"),
        (FILTERED.format("time: {start: '8', stop: '09:00:00'}"), "time.start: '8' is no time of a day"),
        (FILTERED.format("exprs: [{expr: a == 1, fields: []}]"), "exprs[0].fields: required"),
    ],
)
def test_what_is_wrong_with_a_dependency_is_told(dependency: str, said: str) -> None:
    assert said in refused(source(), sensor(dependency)).message


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        (PARAMETER.replace("parameters.0", "parameters.2"), "is none of the arguments of the workflow; those that there are: 0: message, 1: unit"),
        (PARAMETER.replace("spec.arguments.parameters.0.value", "spec.entrypoint"), "'spec.entrypoint' is nothing that an event can set"),
        (PARAMETER.replace("dependencyName: dep", "dependencyName: other"), "src.dependencyName: there is no dependency 'other'; there are: 'dep'"),
        (PARAMETER.replace("dataKey: body.message", "dataKey: 'body[0]'"), "src.dataKey: '[' in the path 'body[0]' is not supported"),
        (PARAMETER.replace("dataKey: body.message", "dataTemplate: '{{ .Input | sha1sum }}'"), "there is no function 'sha1sum' here"),
        (f"{PARAMETER[:-1]}, operation: add}}", "parameters[0].operation: expected 'overwrite' or 'append' or 'prepend', found 'add'"),
    ],
)
def test_what_is_wrong_with_a_parameter_is_told(parameter: str, said: str) -> None:
    error = refused(source(), sensor(parameters=parameter))
    assert said in error.message and "e.yaml:" in error.message


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"conditions": "dep || other"}, "conditions: there is no dependency 'other'"),
        ({"conditions": '"!dep"'}, "conditions: expected names of dependencies, '&&', '||' and parentheses"),
        ({"conditions": "dep.Failed"}, "conditions: expected names of dependencies"),
        ({"operation": "resubmit"}, "argoWorkflow.operation: not supported; a trigger starts a workflow; write 'submit'"),
        ({"operation": "patch", "kind": "k8s"}, "k8s.operation: not supported; a trigger starts a workflow; write 'create'"),
        ({"kind": "http"}, "template.http: not supported; start a workflow"),
    ],
)
def test_what_is_wrong_with_a_trigger_is_told(more: dict[str, str], said: str) -> None:
    assert said in refused(source(), sensor(**more)).message


def test_the_workflow_of_a_trigger_is_checked_where_it_stands() -> None:
    assert (
        "spec.triggers[0].template.argoWorkflow.source.resource.spec.entrypoint"
        in refused(source(), sensor().replace("entrypoint: main", "entrypoint: man")).message
    )
    assert (
        "source.resource.kind: not supported; what is started is a Workflow"
        in refused(source(), sensor().replace("kind: Workflow", "kind: WorkflowTemplate")).message
    )
    assert "unknown field" in refused(source(), sensor().replace("entrypoint: main", "entrypont: main")).message
