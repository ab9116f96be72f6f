"""How containers ended, by the status of their pod and by its answer."""

from typing import Any

import pytest

from pachyderm_dagster.argo.cluster.area import Answer
from pachyderm_dagster.argo.cluster.ends import ends_by, ends_of, is_over
from pachyderm_dagster.argo.containers import ContainerSet, SetContainer, UserContainer
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.pods import Pod
from pachyderm_dagster.argo.templates import Template

S, F, E, O = Phase.SUCCEEDED, Phase.FAILED, Phase.ERROR, Phase.OMITTED  # noqa: E741
PLAIN = Pod("wf", "wf", Template(name="t", container=UserContainer(name="main", image="x")))


def set_of(**needs: str) -> Pod:
    """A set: each container with those that it depends on."""
    containers = tuple(SetContainer(name=name, image="x", dependencies=tuple(needed.split())) for name, needed in needs.items())
    return Pod("wf", "wf", Template(name="t", container_set=ContainerSet(containers=containers)))


def ended(codes: dict[str, int], phase: str = "Failed") -> dict[str, object]:
    statuses = [{"name": name, "state": {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}}} for name, code in codes.items()]
    return {"metadata": {}, "status": {"phase": phase, "containerStatuses": statuses}}


@pytest.mark.parametrize(
    ("needs", "codes", "phases"),
    [
        # The code of the script that runs programs, and that of a program: only what is before them tells one from the other.
        ({"a": "", "b": "a"}, {"a": 1, "b": 65}, (F, O)),
        ({"a": "", "b": "a"}, {"a": 0, "b": 65}, (S, F)),
        ({"a": "", "b": ""}, {"a": 1, "b": 65}, (F, F)),
        ({"a": "", "b": "a", "c": "b"}, {"a": 1, "b": 65, "c": 65}, (F, O, O)),
        ({"c": "b", "b": "a", "a": ""}, {"c": 65, "b": 65, "a": 1}, (O, O, F)),
        ({"c": "b", "b": "a", "a": ""}, {"c": 65, "b": 65, "a": 0}, (O, F, S)),
        ({"a": "", "b": "", "c": "a b"}, {"a": 0, "b": 64, "c": 65}, (S, E, O)),
        ({"a": "", "b": "a"}, {"a": 0, "b": 0}, (S, S)),
    ],
)
def test_a_container_was_not_run_where_one_that_it_depends_on_failed(needs: dict[str, str], codes: dict[str, int], phases: tuple[Phase, ...]) -> None:
    ends = ends_of(set_of(**needs), ended(codes))
    assert ends is not None
    assert tuple(ends[name].phase for name in needs) == phases


@pytest.mark.parametrize(
    ("needs", "codes", "phases"),
    [
        # The first was killed before it could leave its code, for which the others wait.
        ({"a": "", "b": "a", "c": "b"}, {"a": 137}, (F, O, O)),
        ({"a": "", "b": "a", "c": ""}, {"a": 137, "c": 0}, (F, O, S)),
        ({"a": "", "b": "a", "c": ""}, {"a": 137}, None),
        ({"a": "", "b": "a"}, {"a": 0}, None),
    ],
)
def test_containers_of_a_running_pod_that_wait_for_one_that_failed_are_not_waited_for(
    needs: dict[str, str], codes: dict[str, int], phases: tuple[Phase, ...] | None
) -> None:
    found = ended(codes, "Running")
    status: Any = found["status"]
    status["containerStatuses"] += [{"name": name, "state": {"running": {}}} for name in needs if name not in codes]
    ends = ends_of(set_of(**needs), found)
    assert (None if ends is None else tuple(ends[name].phase for name in needs)) == phases
    assert not is_over(set_of(**needs), found)


@pytest.mark.parametrize(
    ("found", "end"),
    [
        (ended({"main": 0}, "Succeeded"), (S, "", "0")),
        (ended({"main": 0, "beside": 0}, "Running"), (S, "", "0")),
        (ended({"main": 65}), (F, "Error (exit code 65)", "65")),
        (ended({"main": 64}), (E, "Error (exit code 64)", "64")),
        ({"metadata": {}, "status": {"phase": "Failed", "message": "The node was low on memory."}}, (F, "The node was low on memory.", None)),
        ({"metadata": {}, "status": {"phase": "Failed"}}, (F, "the pod failed without a word", None)),
        ({"metadata": {}, "status": {"phase": "Running", "containerStatuses": [{"name": "main", "state": {"running": {}}}]}}, None),
        ({"metadata": {}}, None),
    ],
)
def test_the_end_of_a_container_is_what_the_status_says(found: dict[str, object], end: tuple[Phase, str, str | None] | None) -> None:
    ends = ends_of(PLAIN, found)
    assert (None if ends is None else (ends["main"].phase, ends["main"].message, ends["main"].exit_code)) == end


def test_an_answer_is_that_of_main_alone() -> None:
    assert [end.phase for end in ends_by(Answer(code=0), PLAIN).values()] == [S]
    assert [end.phase for end in ends_by(Answer(code=1), PLAIN).values()] == [F]
    ends = ends_by(Answer(code=0), set_of(main="", b=""))
    assert (ends["main"].phase, ends["b"].phase, ends["b"].message) == (S, E, "pod deleted")
