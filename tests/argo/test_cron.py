"""When the workflow of a CronWorkflow is started, and when not."""

import datetime as dt

import pytest

from pachyderm_dagster.argo.cron import CronHistory, why_not_started
from pachyderm_dagster.argo.library import library_of
from pachyderm_dagster.argo.reading import parse_objects
from pachyderm_dagster.argo.subject import fixed_values
from pachyderm_dagster.argo.submitting import new_subject, of_schedule
from pachyderm_dagster.argo.workflows import CronWorkflow
from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import InvalidError

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
TEXT = """apiVersion: argoproj.io/v1alpha1
kind: CronWorkflow
metadata: {{name: nightly, labels: {{team: data}}}}
spec:
  schedules: ["0 12 * * *"]
{spec}
  workflowMetadata: {{labels: {{of: cron}}, annotations: {{why: schedule}}}}
  workflowSpec:
    entrypoint: main
    templates: [{{name: main, container: {{image: busybox, command: [echo, "{{{{workflow.scheduledTime}}}}"]}}}}]
"""


def cron(spec: str) -> CronWorkflow:
    (read,) = parse_objects(TEXT.format(spec=f"  {spec}" if spec else ""), source="c.yaml")
    assert isinstance(read.object, CronWorkflow)
    return read.object


NEVER = CronHistory()


def why(spec: str, history: CronHistory = NEVER, *, late: float = 1.0) -> str | None:
    return why_not_started(cron(spec), NOON, history, ManualClock(NOON + dt.timedelta(seconds=late)))


HOUR_AGO = CronHistory(NOON - dt.timedelta(hours=1), failed=2, succeeded=5)


@pytest.mark.parametrize(
    ("spec", "history", "late", "expected"),
    [
        ("", NEVER, 1e6, None),
        ("startingDeadlineSeconds: 60", NEVER, 60, None),
        ("startingDeadlineSeconds: 60", NEVER, 61, "it was to start at 2026-01-01T12:00:00Z, 61 s ago, and may be 60 s late"),
        ("stopStrategy: {expression: 'cronworkflow.failed >= 3'}", HOUR_AGO, 1, None),
        ("stopStrategy: {expression: 'cronworkflow.failed >= 2'}", HOUR_AGO, 1, "it has stopped for good"),
        ("stopStrategy: {expression: 'cronworkflow.succeeded > 4'}", HOUR_AGO, 1, "5 that succeeded and 2 that failed"),
        ("when: '{{cronworkflow.labels.team}} == data'", NEVER, 1, None),
        ("when: '{{cronworkflow.name}} != nightly'", NEVER, 1, "when '{{cronworkflow.name}} != nightly' is false"),
        ("when: '{{= cronworkflow.lastScheduledTime == nil || (now() - cronworkflow.lastScheduledTime).Seconds() > 4000 }}'", NEVER, 1, None),
        ("when: '{{= cronworkflow.lastScheduledTime == nil || (now() - cronworkflow.lastScheduledTime).Seconds() > 4000 }}'", HOUR_AGO, 1, "is false"),
        ("when: '{{= (now() - cronworkflow.lastScheduledTime).Hours() >= 1 }}'", HOUR_AGO, 1, None),
    ],
)
def test_what_a_cron_workflow_says_decides(spec: str, history: CronHistory, late: float, expected: str | None) -> None:
    found = why(spec, history, late=late)
    assert found is None if expected is None else expected in (found or "")


def test_a_condition_that_cannot_be_told_is_an_error() -> None:
    with pytest.raises(InvalidError, match="tag-unresolved"):
        why("when: '{{cronworkflow.lastScheduledTime}} == x'")


def test_what_it_starts_has_its_name_labels_and_time() -> None:
    one = cron("")
    metadata = of_schedule(one, int(NOON.timestamp()), "2026-01-01T12:00:00Z")
    assert metadata.name == "nightly-1767268800"
    values = fixed_values(new_subject(metadata, one.spec.workflow_spec, library_of([]), {}, ManualClock()))
    assert values["workflow.scheduledTime"] == "2026-01-01T12:00:00Z"
    assert values["workflow.labels.of"] == "cron" and values["workflow.annotations.why"] == "schedule"
    assert values["workflow.labels.workflows.argoproj.io/cron-workflow"] == "nightly"
