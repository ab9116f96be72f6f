"""Run by a Python that has hera: writes workflows as its users do, into a folder."""

import sys
from pathlib import Path

from hera.workflows import (
    DAG,
    Artifact,
    Container,
    CronWorkflow,
    NoneArchiveStrategy,
    Parameter,
    RetryStrategy,
    Script,
    Step,
    Steps,
    Task,
    Workflow,
    WorkflowTemplate,
    models,
    script,
)

IMAGE = "python:3.12-alpine"


@script(image=IMAGE, command=["python"])  # type: ignore[untyped-decorator]
def numbers(upto: int) -> None:
    print(list(range(upto)))


@script(image=IMAGE, command=["python"])  # type: ignore[untyped-decorator]
def square(number: int) -> None:
    print(number**2)


@script(image=IMAGE, command=["python"])  # type: ignore[untyped-decorator]
def total(squared: list[int]) -> None:
    print("total", sum(squared))


def squares() -> Workflow:
    with Workflow(name="squares", entrypoint="main", arguments={"upto": 4}) as workflow, Steps(name="main"):
        first = numbers(name="numbers", arguments={"upto": "{{workflow.parameters.upto}}"})
        each = square(name="square", arguments={"number": "{{item}}"}, with_param=first.result)
        total(name="total", arguments={"squared": each.result})
    return workflow


def diamond() -> Workflow:
    with Workflow(name="diamond", entrypoint="main", on_exit="bye") as workflow:
        write = Container(
            name="write",
            image="busybox",
            command=["sh", "-c"],
            args=["echo {{inputs.parameters.word}} > /tmp/word"],
            inputs=[Parameter(name="word", default="a")],
            outputs=[
                Artifact(name="word", path="/tmp/word", archive=NoneArchiveStrategy()),
                Parameter(name="said", value_from=models.ValueFrom(path="/tmp/word")),
            ],
            retry_strategy=RetryStrategy(limit="2", retry_policy="Always"),
        )
        read = Script(
            name="read",
            image="busybox",
            command=["sh"],
            source="cat /tmp/one; echo {{inputs.parameters.two}}",
            inputs=[Artifact(name="one", path="/tmp/one"), Parameter(name="two")],
        )
        Container(name="bye", image="busybox", command=["echo"], args=["bye {{workflow.status}}"])
        with DAG(name="main"):
            a = Task(name="a", template=write)
            b = Task(name="b", template=write, arguments={"word": "b"})
            c = Task(
                name="c",
                template=read,
                arguments=[
                    Artifact(name="one", from_="{{tasks.a.outputs.artifacts.word}}"),
                    Parameter(name="two", value="{{tasks.b.outputs.parameters.said}}"),
                ],
            )
            [a, b] >> c
    return workflow


def template() -> WorkflowTemplate:
    with WorkflowTemplate(name="shared", entrypoint="main", arguments=[Parameter(name="whom", value="world")]) as found:
        Container(name="hello", image="busybox", command=["echo"], args=["hello {{workflow.parameters.whom}}"])
        with Steps(name="main"):
            Step(name="hello", template="hello")
    return found


def nightly() -> CronWorkflow:
    with CronWorkflow(name="nightly", schedules=["0 3 * * *"], concurrency_policy="Forbid", entrypoint="main") as found:
        Container(name="main", image="busybox", command=["true"])
    return found


for made in (squares(), diamond(), template(), nightly()):
    Path(sys.argv[1], f"{made.name}.yaml").write_text(made.to_yaml())
