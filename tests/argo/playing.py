"""Workflows that are played: pods do what their arguments say, at once, and time passes only when everybody waits for it."""

import asyncio
import datetime as dt
import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pachyderm_dagster.argo.caches import Cache, MemoryCache
from pachyderm_dagster.argo.checking import check_object
from pachyderm_dagster.argo.engine import Engine
from pachyderm_dagster.argo.journal import Journal, MemoryJournal
from pachyderm_dagster.argo.library import OWN, effective_spec, library_of
from pachyderm_dagster.argo.locks import FileLocks
from pachyderm_dagster.argo.nodes import KeptArtifact, Node, NodeOutputs, Phase
from pachyderm_dagster.argo.pods import Pod, PodEnd
from pachyderm_dagster.argo.reading import parse_objects
from pachyderm_dagster.argo.subject import Subject, with_values
from pachyderm_dagster.argo.waits import Resumed, Waits
from pachyderm_dagster.argo.workflows import Workflow
from pachyderm_dagster.clock import ManualClock

HEAD = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: wf}\nspec:\n  entrypoint: main\n"
SETTLED = 200
"""So many turns of the event loop, after which everybody waits for time."""


class Time:
    """Passes when it is asked for only."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    async def sleep(self, seconds: float) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self.clock.now().timestamp() + seconds, next(self._count), waiting))
        await waiting

    def pass_on(self) -> bool:
        """Goes to the moment at which the next one wakes; whether there is one."""
        while self._sleeping:
            at, _, waiting = heapq.heappop(self._sleeping)
            if not waiting.done():
                self.clock.advance(dt.timedelta(seconds=max(0.0, at - self.clock.now().timestamp())))
                waiting.set_result(None)
                return True
        return False


class Actors:
    """An executor. The arguments of a container are what it does: `sleep 5`, `print TEXT`, `out NAME=VALUE`, `art NAME`, `exit 3`,
    `ready ADDRESS`, `crash`.
    """

    def __init__(self, time: Time, *, keeps_deadlines: bool = False) -> None:
        self._time, self.keeps_deadlines = time, keeps_deadlines
        self.started: list[str] = []
        self.ended: list[str] = []
        self.at_once = self.most_at_once = 0
        self.pods: dict[str, Pod] = {}

    async def run(self, pod: Pod) -> PodEnd:
        self.started.append(pod.node)
        self.pods[pod.node] = pod
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._act(pod)
        finally:
            self.at_once -= 1
            self.ended.append(pod.node)

    async def _act(self, pod: Pod) -> PodEnd:
        printed: list[str] = []
        parameters: dict[str, str] = {}
        artifacts: dict[str, KeptArtifact] = {}
        code = 0
        container = pod.template.container or pod.template.script
        assert container is not None
        for line in container.args:
            verb, _, rest = line.partition(" ")
            if verb == "sleep":
                await self._time.sleep(float(rest))
            elif verb == "print":
                printed.append(rest)
            elif verb == "out":
                name, _, value = rest.partition("=")
                parameters[name] = value
            elif verb == "art":
                artifacts[rest] = KeptArtifact(f"{pod.name}/{rest}")
            elif verb == "ready":
                pod.on_ready(rest)
            elif verb == "exit":
                code = int(rest)
                if code:
                    break
            elif verb == "crash":
                return PodEnd(Phase.ERROR, rest or "crashed")
        outputs = NodeOutputs(parameters=parameters, artifacts=artifacts, result="\n".join(printed) if pod.keeps_result else None, exit_code=str(code))
        return PodEnd(Phase.FAILED if code else Phase.SUCCEEDED, f"Error (exit code {code})" if code else "", outputs)


@dataclass
class Played:
    """What came of a workflow."""

    root: Node
    nodes: Mapping[str, Node]
    actors: Actors
    journal: Journal
    seconds: float

    def phases(self) -> dict[str, str]:
        """The phases of all nodes but groups of steps, without the workflow's name."""
        return {name.removeprefix("wf"): node.phase.value for name, node in self.nodes.items() if node.type != "StepGroup"}

    def node(self, name: str) -> Node:
        return self.nodes[f"wf{name}"]


@dataclass
class Play:
    """A workflow to be played.

    Attributes:
        answers: what is given with the resume of a node, by its name; the node waits for ever without.
        stop_after: seconds after which it is stopped.
        locks: the folder of locks; it shares none with others without it.
    """

    text: str
    given: dict[str, str] = field(default_factory=dict)
    answers: dict[str, dict[str, str]] = field(default_factory=dict)
    journal: Journal = field(default_factory=MemoryJournal)
    stop_after: float | None = None
    most_pods: int = 100
    locks: Path | None = None
    cache: Cache = field(default_factory=MemoryCache)
    tell: Callable[[Node], None] = lambda _: None
    keeps_deadlines: bool = False

    def run(self) -> Played:
        return asyncio.run(self._run())

    async def _run(self) -> Played:
        time = Time()
        actors = Actors(time, keeps_deadlines=self.keeps_deadlines)
        engine = Engine(
            subject_of(self.text, self.given, time.clock),
            actors,
            self.journal,
            time.clock,
            Waits(time.sleep, self._answer),
            most_pods=self.most_pods,
            tell=self.tell,
            locks=None if self.locks is None else FileLocks(self.locks, "wf", lambda _: False, time.sleep),
            cache=self.cache,
        )
        begun = time.clock.now()
        running = asyncio.ensure_future(engine.run())
        others = [asyncio.ensure_future(self._stop(engine, time))] if self.stop_after is not None else []
        while not running.done():
            for _ in range(SETTLED):
                await asyncio.sleep(0)
            if not running.done() and not time.pass_on():
                running.cancel()
        for other in others:
            other.cancel()
        return Played(await running, engine.nodes, actors, self.journal, (time.clock.now() - begun).total_seconds())

    async def _answer(self, node: str) -> Resumed:
        if node in self.answers:
            return Resumed(self.answers[node])
        never: asyncio.Future[Resumed] = asyncio.get_running_loop().create_future()
        return await never

    async def _stop(self, engine: Engine, time: Time) -> None:
        assert self.stop_after is not None
        await time.sleep(self.stop_after)
        engine.stop("stopped")


def ignore(_: Node) -> None: ...


def subject_of(text: str, given: Mapping[str, str], clock: ManualClock) -> Subject:
    found = parse_objects(HEAD + text, source="w.yaml")
    library = library_of(found)
    for read in found:
        check_object(read, library)
    workflow = found[0].object
    assert isinstance(workflow, Workflow)
    spec = with_values(effective_spec(workflow.spec, library), given, library)
    library.templates[OWN] = spec
    return Subject(workflow.metadata, "uid", spec, library, clock.now())


def play(text: str, **given: str) -> Played:
    """Plays a workflow with parameters."""
    return Play(text, given).run()


def pod(name: str, *does: str, inputs: str = "", more: str = "") -> str:
    """A template that is a container, as a line of YAML."""
    parameters = ", ".join(f"{{name: {one}}}" for one in inputs.split())
    text = msgspec.json.encode(list(does)).decode()
    return f"  - {{name: {name}, inputs: {{parameters: [{parameters}]}}, container: {{image: x, args: {text}}}{more}}}\n"
