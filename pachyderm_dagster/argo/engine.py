"""Runs a workflow: a coroutine for each node, over the nodes that are kept. A node that is fulfilled is not run again; any other begins anew."""

import asyncio
import contextlib
import datetime as dt
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pachyderm_dagster.argo import names
from pachyderm_dagster.argo.calls import Call, artifact_text, input_parameters, local_values, resolve_artifact
from pachyderm_dagster.argo.flows import Flow
from pachyderm_dagster.argo.functions import functions
from pachyderm_dagster.argo.go_times import rfc3339
from pachyderm_dagster.argo.journal import Journal
from pachyderm_dagster.argo.library import OWN, Library
from pachyderm_dagster.argo.nodes import KeptArtifact, Node, NodeOutputs, NodeType, Phase
from pachyderm_dagster.argo.outcomes import with_globals
from pachyderm_dagster.argo.parameters import Parameter
from pachyderm_dagster.argo.pods import DEADLINE, Executor, Pod, PodEnd
from pachyderm_dagster.argo.retrying import decide, to_seconds
from pachyderm_dagster.argo.subject import Subject, exit_handler, fixed_values, with_defaults
from pachyderm_dagster.argo.tags import Scope, evaluate_in, replace_in
from pachyderm_dagster.argo.templates import LEAVES, Hook, RetryStrategy, Template
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import InvalidError, PachydermError

DEADLINE_OF_WORKFLOW = "Step exceeded its deadline"
NO_RETRIES = "No more retries left"


@dataclass(slots=True)
class Waits:
    """What the engine waits for that is neither a pod nor an answer of the executor.

    Attributes:
        sleep: waits so many seconds.
        answer: waits until somebody resumes the node of this name; the parameters that were given.
    """

    sleep: Callable[[float], Awaitable[None]]
    answer: Callable[[str], Awaitable[Mapping[str, str]]]
    busy: int = 0
    suspended: set[str] = field(default_factory=set)

    @property
    def only_for_answers(self) -> bool:
        """Whether nothing goes on before somebody resumes a node."""
        return bool(self.suspended) and not self.busy


class Engine:
    """Runs one workflow, once.

    Args:
        journal: has the nodes of earlier attempts to run it, and gets those of this one.
        most_pods: how many pods run at once, beside what the workflow says.
        tell: is called with every node that changed.
        target: only this one of the entrypoint's steps or tasks is run, after what comes before it, and no exit handler.
    """

    def __init__(
        self,
        subject: Subject,
        executor: Executor,
        journal: Journal,
        clock: Clock,
        waits: Waits,
        *,
        most_pods: int,
        tell: Callable[[Node], None],
        target: str = "",
    ) -> None:
        self._target = target
        self._subject, self._executor, self._journal, self._clock, self._waits, self._tell = subject, executor, journal, clock, waits, tell
        self._functions = functions(clock)
        self._nodes = journal.load()
        self._fixed = fixed_values(subject)
        self._pods = asyncio.Semaphore(min(most_pods, subject.spec.parallelism or most_pods))
        self._phase_values: dict[str, str] = {}
        self._published: dict[str, str] = {}
        for node in self._nodes.values():
            self._publish(node.outputs)
        self._stopped: str | None = None

    @property
    def library(self) -> Library:
        return self._subject.library

    @property
    def nodes(self) -> Mapping[str, Node]:
        """All nodes by name."""
        return self._nodes

    # --- the workflow

    async def run(self) -> Node:
        """Runs the workflow to its end, with its exit handler; the node of the workflow as it is then, which an exit handler that failed has changed."""
        spec, name = self._subject.spec, self._subject.metadata.name
        entry = self._subject.library.named(OWN, spec.entrypoint)
        scope = self._scope()
        artifacts = {one.name: kept for one in spec.arguments.artifacts if (kept := resolve_artifact(one, scope)) is not None}
        parameters = {one.name: one.value for one in spec.arguments.parameters if one.value is not None}
        call = Call(name, name, entry, OWN, parameters, artifacts, target=self._target)
        root = await self._limited(call)
        handler = exit_handler(spec)
        if handler is None or self._target:
            return root
        self._phase_values = self._final_values(root)
        ready = replace_in(handler, Hook, self._scope(), last=True)
        template, owner = self.library.get_template(OWN, ready)
        given = {one.name: one.value for one in ready.arguments.parameters if one.value is not None}
        handled = await self.execute(Call(names.hook_name(name, "exit"), f"{name}.onExit", template, owner, given))
        if root.phase is Phase.SUCCEEDED and handled.phase.is_failure:
            return msgspec.structs.replace(root, phase=handled.phase, message=handled.message)
        return root

    async def _limited(self, call: Call) -> Node:
        known = self._nodes.get(call.name)
        seconds = self._subject.spec.active_deadline_seconds
        if seconds is None or (known is not None and known.phase.is_fulfilled):
            return await self._stoppable(call)
        left = (known.started + to_seconds(seconds) - self._now()) if known is not None else to_seconds(seconds)
        running = asyncio.ensure_future(self._stoppable(call))
        timer = asyncio.ensure_future(self._waits.sleep(max(left, 0.0)))
        await asyncio.wait((running, timer), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await _cancelled(running)
            self.end_all(DEADLINE_OF_WORKFLOW)
            return self._nodes[call.name]
        await _cancelled(timer)
        return running.result()

    async def _stoppable(self, call: Call) -> Node:
        self._running = asyncio.ensure_future(self.execute(call))
        try:
            return await asyncio.shield(self._running)
        except asyncio.CancelledError:
            await _cancelled(self._running)
            if self._stopped is None:
                raise
            self.end_all(self._stopped)
            return self._nodes[call.name]

    def stop(self, message: str) -> None:
        """Ends all pods; what did not end by itself fails, and the exit handler is run."""
        self._stopped = message
        self._running.cancel()

    def end_all(self, message: str) -> None:
        """Has every node that is not fulfilled fail."""
        for node in list(self._nodes.values()):
            if not node.phase.is_fulfilled:
                self.end(node, Phase.FAILED, message)

    def _final_values(self, root: Node) -> dict[str, str]:
        failed = [node for node in self._nodes.values() if node.phase.is_failure]
        listed = [
            {
                "displayName": node.display_name,
                "message": node.message,
                "templateName": node.template,
                "phase": node.phase.value,
                "podName": node.pod,
                "finishedAt": rfc3339(dt.datetime.fromtimestamp(node.finished, dt.UTC)),
            }
            for node in failed
        ]
        # As Argo has it: a list in JSON that is quoted once more, so that its quotes outlive the replacing.
        return {"workflow.status": root.phase.value, "workflow.failures": json.dumps(json.dumps(listed, ensure_ascii=False), ensure_ascii=False)}

    # --- nodes

    async def execute(self, call: Call) -> Node:
        """As `Runs.execute`."""
        known = self._nodes.get(call.name)
        if known is not None and known.phase.is_fulfilled:
            return known
        try:
            template = with_defaults(call.template, self._subject.spec)
            parameters = input_parameters(template, call.parameters, self.library)
            artifacts = self._input_artifacts(template, call.artifacts)
            scope = self._scope().with_values(local_values(call, parameters, artifacts))
            template = replace_in(template, Template, scope)
            ready = Call(call.name, call.display_name, template, call.owner, parameters, artifacts, call.parent, call.keeps_result, call.target)
            if template.retry_strategy is not None:
                return await self._tried(ready, template.retry_strategy, scope)
            return await self._once(ready, scope)
        except PachydermError as error:
            return self.end(self.begin(call, NodeType.POD if call.template.kind in LEAVES else NodeType.SKIPPED), Phase.ERROR, error.message)

    def _input_artifacts(self, template: Template, given: Mapping[str, KeptArtifact]) -> dict[str, KeptArtifact]:
        found: dict[str, KeptArtifact] = {}
        for artifact in template.inputs.artifacts:
            kept = given.get(artifact.name) or resolve_artifact(artifact, self._scope())
            if kept is not None:
                found[artifact.name] = kept
            elif not artifact.optional:
                raise InvalidError("artifact-missing", f"the template {template.name!r} needs the artifact {artifact.name!r}, which nobody gives; give it one")
        return found

    async def _once(self, call: Call, scope: Scope) -> Node:
        match call.template.kind:
            case "steps" | "dag":
                return await Flow(self, call, call.template, scope).run()
            case "suspend":
                return await self._suspended(call)
            case _:
                return await self._pod(call, scope)

    async def _tried(self, call: Call, strategy: RetryStrategy, scope: Scope) -> Node:
        node = self.begin(call, NodeType.RETRY)
        last: Node | None = None
        attempt = 0
        while True:
            values = {"retries": str(attempt), **_last_retry(last)}
            inside = scope.with_values(values)
            name = names.attempt_name(call.name, attempt)
            template = msgspec.structs.replace(replace_in(call.template, Template, inside), retry_strategy=None)
            one = Call(name, f"{call.display_name}({attempt})", template, call.owner, call.parameters, call.artifacts, node.id, call.keeps_result)
            known = self._nodes.get(name)
            last = known if known is not None and known.phase.is_fulfilled else await self._once(one, inside)
            if not last.phase.is_failure:
                return self.end(node, last.phase, last.message, last.outputs)
            decision = decide(
                strategy,
                attempts=attempt + 1,
                phase=last.phase,
                message=last.message,
                seconds_since_first=last.finished - node.started,
                expression_holds=self._expression_holds(strategy, scope, last),
            )
            if decision.wait_seconds is None:
                return self.end(node, last.phase, decision.reason or last.message, last.outputs)
            await self._slept(last.finished + decision.wait_seconds - self._now())
            attempt += 1

    def _expression_holds(self, strategy: RetryStrategy, scope: Scope, last: Node) -> bool:
        if not strategy.expression:
            return True
        return evaluate_in(scope.with_values(_last_retry(last)), strategy.expression) is True

    async def _suspended(self, call: Call) -> Node:
        node = self.begin(call, NodeType.SUSPEND)
        suspend = call.template.suspend
        duration = suspend.duration if suspend else None
        given: Mapping[str, str] | None
        if duration is None:
            self._waits.suspended.add(call.name)
            try:
                given = await self._waits.answer(call.name)
            finally:
                self._waits.suspended.discard(call.name)
        else:
            given = await self._answered_within(call.name, node.started + to_seconds(duration) - self._now())
        parameters: dict[str, str] = {}
        for one in call.template.outputs.parameters:
            value = _supplied(one, given or {}, call.parameters)
            if value is None:
                return self.end(node, Phase.ERROR, f"nobody gave the parameter {one.name!r}; resume with '-p {one.name}=VALUE', or give it a default")
            parameters[one.name] = value
        return self.end(node, Phase.SUCCEEDED, outputs=with_globals(NodeOutputs(parameters=parameters), call.template.outputs))

    async def _answered_within(self, name: str, seconds: float) -> Mapping[str, str] | None:
        answer = asyncio.ensure_future(self._waits.answer(name))
        timer = asyncio.ensure_future(self._slept(seconds))
        try:
            await asyncio.wait((answer, timer), return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else None
        finally:
            await _cancelled(answer)
            await _cancelled(timer)

    async def _slept(self, seconds: float) -> None:
        if seconds > 0:
            with self._busy():
                await self._waits.sleep(seconds)

    # --- pods

    async def _pod(self, call: Call, scope: Scope) -> Node:
        node = self.begin(call, NodeType.POD, Phase.PENDING)
        pod = self._pod_of(call, node, scope)
        template = pod.template
        limit = node.started + to_seconds(template.timeout) - self._now() if template.timeout else None
        with self._busy():
            end = await self._within(limit, self._in_place(node, pod))
        if end.phase is Phase.FAILED and end.message == DEADLINE and not self._nodes[call.name].phase.is_fulfilled:
            return self.end(self._nodes[call.name], Phase.FAILED, DEADLINE)
        return self.end(self._nodes[call.name], end.phase, end.message, with_globals(end.outputs, template.outputs))

    async def _in_place(self, node: Node, pod: Pod) -> PodEnd:
        async with self._pods:
            self._put(msgspec.structs.replace(node, phase=Phase.RUNNING))
            seconds = pod.template.active_deadline_seconds
            return await self._within(None if seconds is None else to_seconds(seconds), self._executor.run(pod))

    async def _within(self, seconds: float | None, running: Any) -> PodEnd:
        if seconds is None:
            found: PodEnd = await running
            return found
        task = asyncio.ensure_future(running)
        timer = asyncio.ensure_future(self._waits.sleep(max(seconds, 0.0)))
        try:
            await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else PodEnd(Phase.FAILED, DEADLINE)
        finally:
            await _cancelled(task)
            await _cancelled(timer)

    def _pod_of(self, call: Call, node: Node, scope: Scope) -> Pod:
        spec = self._subject.spec
        inside = scope.with_values({"pod.name": node.pod})
        volumes = replace_in(Template(volumes=spec.volumes), Template, inside).volumes
        return Pod(
            name=node.pod,
            node=call.name,
            template=replace_in(call.template, Template, inside, last=True),
            artifacts=call.artifacts,
            volumes=(*volumes, *call.template.volumes),
            claims=frozenset(claim.metadata.name for claim in spec.volume_claim_templates),
            keeps_result=call.keeps_result,
            config_maps=self.library.config_maps,
            secrets=self.library.secrets,
        )

    @contextlib.contextmanager
    def _busy(self) -> Any:
        self._waits.busy += 1
        try:
            yield
        finally:
            self._waits.busy -= 1

    # --- what is kept

    def begin(self, call: Call, type: NodeType, phase: Phase = Phase.RUNNING) -> Node:
        """As `Runs.begin`; a node that began before keeps the time when it did."""
        known = self._nodes.get(call.name)
        workflow = self._subject.metadata.name
        node = Node(
            name=call.name,
            id=names.node_id(workflow, call.name),
            display_name=call.display_name,
            type=type,
            template=call.template.name,
            phase=phase,
            parent=call.parent,
            started=known.started if known is not None else self._now(),
            pod=names.pod_name(workflow, call.name, call.template.name) if type is NodeType.POD else "",
            inputs=dict(call.parameters),
        )
        self._put(node)
        return node

    def end(self, node: Node, phase: Phase, message: str = "", outputs: NodeOutputs | None = None) -> Node:
        """As `Runs.end`."""
        ended = msgspec.structs.replace(node, phase=phase, message=message, outputs=outputs or NodeOutputs(), finished=self._now())
        self._put(ended)
        return ended

    def _put(self, node: Node) -> None:
        self._nodes[node.name] = node
        self._publish(node.outputs)
        self._journal.keep(node)
        self._tell(node)

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _scope(self) -> Scope:
        return Scope(self.global_values(), self._functions)

    def global_values(self) -> dict[str, str]:
        """As `Runs.global_values`."""
        duration = self._now() - self._subject.created.timestamp()
        return {**self._fixed, **self._published, "workflow.duration": f"{duration:.6f}", **self._phase_values}

    def _publish(self, outputs: NodeOutputs) -> None:
        self._published |= {f"workflow.outputs.parameters.{name}": value for name, value in outputs.global_parameters.items()}
        self._published |= {f"workflow.outputs.artifacts.{name}": artifact_text(kept) for name, kept in outputs.global_artifacts.items()}


async def _cancelled(task: "asyncio.Future[Any]") -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))


def _last_retry(last: Node | None) -> dict[str, str]:
    if last is None:
        return {}
    return {
        "lastRetry.exitCode": last.outputs.exit_code or "-1",
        "lastRetry.status": last.phase.value,
        "lastRetry.duration": str(int(last.finished - last.started)),
        "lastRetry.message": last.message,
    }


def _supplied(parameter: Parameter, given: Mapping[str, str], inputs: Mapping[str, str]) -> str | None:
    if parameter.name in given:
        return given[parameter.name]
    if parameter.value_from is not None and parameter.value_from.default is not None:
        return parameter.value_from.default
    return inputs.get(parameter.name)
