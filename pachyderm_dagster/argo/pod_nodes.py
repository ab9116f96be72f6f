"""Nodes that are pods: a place for each, its limits of time, and what comes of it."""

import asyncio
import functools
from dataclasses import replace

import msgspec

from pachyderm_dagster.argo.calls import Call
from pachyderm_dagster.argo.containers import Volume
from pachyderm_dagster.argo.node_table import NodeTable
from pachyderm_dagster.argo.nodes import Node, NodeOutputs, NodeType, Phase
from pachyderm_dagster.argo.outcomes import with_globals
from pachyderm_dagster.argo.pod_fields import pod_spec_of
from pachyderm_dagster.argo.pods import DEADLINE, Executor, Pod, PodEnd
from pachyderm_dagster.argo.retrying import to_seconds
from pachyderm_dagster.argo.subject import Subject
from pachyderm_dagster.argo.tags import Scope, replace_in
from pachyderm_dagster.argo.templates import Template, without_bookkeeping
from pachyderm_dagster.argo.waits import Waits, cancelled
from pachyderm_dagster.argo.workflows import WorkflowSpec, more_of_pods, pod_part

NOT_PLACED = "Pod was pending for longer than the specified time"
NOT_READY = "the daemon ended before it was ready"


class PodNodes:
    """Runs the pods of a workflow.

    Args:
        most_pods: how many run at once, beside what the workflow says.
    """

    def __init__(self, subject: Subject, executor: Executor, table: NodeTable, waits: Waits, *, most_pods: int) -> None:
        self._subject, self._executor, self._table, self._waits = subject, executor, table, waits
        self._claims = frozenset(claim.metadata.name for claim in subject.spec.volume_claim_templates)
        # Only what pods have of it, so that not the whole workflow is looked through for every one of them.
        self._of_pods = pod_part(subject.spec)
        self._is_plain = "{{" not in msgspec.json.encode(self._of_pods).decode()
        self._places = asyncio.Semaphore(min(most_pods, subject.spec.parallelism or most_pods))

    async def run(self, call: Call, scope: Scope) -> Node:
        """Runs the pod of a call to its end; a daemon only until it is ready."""
        node = self._table.begin(call, NodeType.POD, Phase.PENDING)
        pod = replace(self._pod_of(call, node, scope), on_waiting=functools.partial(self._note_waiting, call.name))
        if not pod.template.daemon or call.daemons is None:
            return await self._to_end(call, node, pod)
        return await self._daemon(call, node, pod)

    async def _to_end(self, call: Call, node: Node, pod: Pod) -> Node:
        template = pod.template
        limit = node.started + to_seconds(template.timeout) - self._table.now() if template.timeout else None
        with self._waits.busy():
            end = await self._waits.within(limit, self._in_place(node, pod), _late)
        self._note_containers(call, node, end)
        ended = self._table.end(self._table.nodes[call.name], end.phase, end.message, with_globals(end.outputs, template.outputs))
        end.on_kept()
        return ended

    def _note_waiting(self, name: str, why: str) -> None:
        node = self._table.nodes[name]
        if not node.phase.is_fulfilled:
            self._table.put(msgspec.structs.replace(node, phase=Phase.PENDING if why else Phase.RUNNING, message=why))

    def _note_containers(self, call: Call, node: Node, end: PodEnd) -> None:
        for name, one in end.containers.items():
            of = call.under(f"{call.name}.{name}", name, Template(name=call.template.name), node.id)
            self._table.end(self._table.begin(of, NodeType.CONTAINER), one.phase, one.message, NodeOutputs(exit_code=one.exit_code))

    async def _in_place(self, node: Node, pod: Pod) -> PodEnd:
        waiting = self._places.acquire()
        limit = to_seconds(pod.template.pending_timeout) if pod.template.pending_timeout else None
        if not await self._waits.within(limit, waiting, lambda: False):
            return PodEnd(Phase.FAILED, NOT_PLACED)
        try:
            self._table.put(msgspec.structs.replace(node, phase=Phase.RUNNING))
            seconds = pod.template.active_deadline_seconds
            limit = None if seconds is None or self._executor.keeps_deadlines else to_seconds(seconds)
            return await self._waits.within(limit, self._executor.run(pod), _late)
        finally:
            self._places.release()

    async def _daemon(self, call: Call, node: Node, pod: Pod) -> Node:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def be_ready(ip: str) -> None:
            if not ready.done():
                ready.set_result(ip)

        pod = replace(pod, on_ready=be_ready)
        assert call.daemons is not None
        running = asyncio.ensure_future(self._until_it_dies(call, node, pod))
        try:
            await asyncio.wait((running, ready), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await cancelled(running)
            raise
        if running.done():
            return running.result()
        found = msgspec.structs.replace(self._table.nodes[call.name], daemoned=True, ip=ready.result())
        self._table.put(found)
        call.daemons.add(found, running)
        return found

    async def _until_it_dies(self, call: Call, node: Node, pod: Pod) -> Node:
        found = await self._to_end(call, node, pod)
        return found if found.phase.is_failure else self._table.end(found, Phase.FAILED, NOT_READY if not found.daemoned else "the daemon ended by itself")

    def _pod_of(self, call: Call, node: Node, scope: Scope) -> Pod:
        inside = scope.with_values({"pod.name": node.pod})
        spec, volumes = self._of_workflow(inside)
        # What its metrics and its cache are called by is known when it has ended.
        template = replace_in(without_bookkeeping(call.template), Template, inside, last=True)
        library = self._subject.library
        metadata = [one for one in (spec.pod_metadata, template.metadata) if one is not None]
        archive = template.archive_location
        return Pod(
            name=node.pod,
            node=call.name,
            template=template,
            namespace=self._subject.metadata.namespace or "default",
            artifacts=call.artifacts,
            volumes=(*volumes, *template.volumes),
            claims=self._claims,
            keeps_result=call.keeps_result,
            config_maps=library.config_maps,
            secrets=library.secrets,
            archives_log=bool(archive.archive_logs if archive is not None and archive.archive_logs is not None else spec.archive_logs),
            pod_spec=pod_spec_of(spec, template, more_of_pods(spec)),
            labels={name: value for one in metadata for name, value in one.labels.items()},
            annotations={name: value for one in metadata for name, value in one.annotations.items()},
            pod_spec_patches=tuple(patch for patch in (spec.pod_spec_patch, template.pod_spec_patch) if patch),
        )

    def _of_workflow(self, scope: Scope) -> tuple[WorkflowSpec, tuple[Volume, ...]]:
        spec = self._of_pods if self._is_plain else replace_in(self._of_pods, WorkflowSpec, scope)
        return spec, spec.volumes


def _late() -> PodEnd:
    return PodEnd(Phase.FAILED, DEADLINE)
