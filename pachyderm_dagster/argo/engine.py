"""Runs a workflow: a coroutine for each node, over the nodes that are kept. A node that is fulfilled is not run again; any other begins anew."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

import msgspec

from pachyderm_dagster.argo.attempts import run_attempts
from pachyderm_dagster.argo.bookkeeping import Metrics
from pachyderm_dagster.argo.caches import Cache, MemoryCache, check_memoize, find_fresh, kept_of
from pachyderm_dagster.argo.calls import Call, given_artifacts, given_parameters, input_parameters, local_values, resolve_artifact
from pachyderm_dagster.argo.daemons import Daemons
from pachyderm_dagster.argo.flows import Flow
from pachyderm_dagster.argo.hooks import EXIT, EarlyHooks, hook_call
from pachyderm_dagster.argo.journal import Journal
from pachyderm_dagster.argo.library import OWN, Library
from pachyderm_dagster.argo.locks import Locks, OpenLocks, locks_of
from pachyderm_dagster.argo.metrics import measured
from pachyderm_dagster.argo.node_table import DURATION, NodeTable
from pachyderm_dagster.argo.nodes import KeptArtifact, Node, NodeType, Phase
from pachyderm_dagster.argo.parameters import Artifact
from pachyderm_dagster.argo.pod_nodes import PodNodes
from pachyderm_dagster.argo.pods import Executor
from pachyderm_dagster.argo.requests import Send, no_network, run_request
from pachyderm_dagster.argo.resources import NOTHING_AROUND, Around, run_resource
from pachyderm_dagster.argo.retrying import to_seconds
from pachyderm_dagster.argo.subject import Subject, exit_handler, with_defaults
from pachyderm_dagster.argo.suspensions import run_suspension
from pachyderm_dagster.argo.tags import Scope, replace_in
from pachyderm_dagster.argo.templates import Template
from pachyderm_dagster.argo.waits import Waits, cancelled
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import InvalidError, PachydermError

DEADLINE_OF_WORKFLOW = "Step exceeded its deadline"


class Engine:
    """Runs one workflow, once.

    Args:
        journal: has the nodes of earlier attempts to run it, and gets those of this one.
        most_pods: how many pods run at once, beside what the workflow says.
        tell: is called with every node that changed.
        locks: what is shared with other workflows.
        cache: has what templates gave before.
        send: sends requests.
        around: what templates that are a `resource` need.
        target: only this one of the entrypoint's steps or tasks is run, after what comes before it, and no hook of the workflow.
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
        locks: Locks | None = None,
        cache: Cache | None = None,
        send: Send = no_network,
        around: Around = NOTHING_AROUND,
    ) -> None:
        self._target, self._locks, self._cache = target, locks or OpenLocks(), cache or MemoryCache()
        self._send, self._around = send, around
        self._subject, self._waits = subject, waits
        self.table = NodeTable(subject, journal, clock, tell)
        self._pods = PodNodes(subject, executor, self.table, waits, most_pods=most_pods)
        self._stopped: str | None = None
        self._running: asyncio.Future[Node] | None = None

    @property
    def library(self) -> Library:
        """What templates may be named."""
        return self._subject.library

    @property
    def nodes(self) -> Mapping[str, Node]:
        """All nodes by name."""
        return self.table.nodes

    # --- the workflow

    async def run(self) -> Node:
        """Runs the workflow to its end, with its hooks; the node of the workflow as it is then, which an exit handler that failed has changed."""
        await self._waits.until_resumed()
        call = self._entry()
        if self._target:
            return await self._limited(call)
        spec = self._subject.spec
        async with self._locked(replace_in(Template(synchronization=spec.synchronization), Template, self.table.scope()), call):
            root = await self._with_hooks(call)
        if spec.metrics is not None and not root.metrics:
            self.table.set_final(root)
            root = self._with_metrics(spec.metrics, root, self.table.scope())
        return root

    async def _with_hooks(self, call: Call) -> Node:
        hooks = EarlyHooks(self._subject.spec.hooks, call, self._scope_of_hooks, table=self.table, library=self.library, run=self.execute)
        root = await hooks.during(self._limited(call))
        handler = exit_handler(self._subject.spec)
        if handler is None:
            return root
        self.table.set_final(root)
        handled = await self._with_daemons(hook_call(handler, EXIT, call, self.table.scope(), library=self.library))
        if root.phase is Phase.SUCCEEDED and handled.phase.is_failure:
            return msgspec.structs.replace(root, phase=handled.phase, message=handled.message)
        return root

    def _entry(self) -> Call:
        spec, name = self._subject.spec, self._subject.metadata.name
        entry = self.library.named(OWN, spec.entrypoint)
        return Call(name, name, entry, OWN, given_parameters(spec.arguments), given_artifacts(spec.arguments, self.table.scope()), target=self._target)

    def _scope_of_hooks(self) -> Scope:
        root = self.nodes.get(self._subject.metadata.name)
        if root is not None and root.phase.is_fulfilled:
            self.table.set_final(root)
            return self.table.scope()
        return self.table.scope().with_values({"workflow.status": Phase.RUNNING.value if root is not None else Phase.PENDING.value})

    async def _with_daemons(self, call: Call) -> Node:
        daemons = Daemons(self.table)
        try:
            await self.execute(replace(call, daemons=daemons))
        finally:
            await daemons.end()
        return self.nodes[call.name]

    async def _limited(self, call: Call) -> Node:
        seconds = self._subject.spec.active_deadline_seconds
        known = self.nodes.get(call.name)
        if seconds is None or self.table.find_fulfilled(call.name) is not None:
            return await self._stoppable(call)
        left = (known.started + to_seconds(seconds) - self.table.now()) if known is not None else to_seconds(seconds)
        found = await self._waits.within(left, self._stoppable(call), _late)
        if found is not None:
            return found
        return self.end_all(DEADLINE_OF_WORKFLOW)

    async def _stoppable(self, call: Call) -> Node:
        message = self._stopped
        if message is not None:
            return self.end_all(message)
        self._running = asyncio.ensure_future(self._with_daemons(call))
        try:
            return await asyncio.shield(self._running)
        except asyncio.CancelledError:
            await cancelled(self._running)
            if self._stopped is None:
                raise
            return self.end_all(self._stopped)

    def stop(self, message: str) -> None:
        """Ends all pods; what did not end by itself fails, and the exit handler is run."""
        self._stopped = message
        if self._running is not None:
            self._running.cancel()

    def end_all(self, message: str) -> Node:
        """Has every node that is not fulfilled fail; the node of the workflow."""
        call = self._entry()
        if call.name not in self.nodes:
            self.table.begin(call, NodeType.SKIPPED)
        self.table.end_all(message)
        return self.nodes[call.name]

    # --- nodes

    async def execute(self, call: Call) -> Node:
        """Runs a call to its end."""
        known = self.table.find_fulfilled(call.name)
        if known is not None:
            return known
        await self._waits.until_resumed()
        try:
            template = with_defaults(call.template, self._subject.spec)
            parameters = input_parameters(template, call.parameters, self.library)
            artifacts = self._input_artifacts(template, call.artifacts, self.table.scope().with_values(local_values(call, parameters, {})))
            scope = self.table.scope().with_values(local_values(call, parameters, artifacts))
            # How long the workflow runs is told to steps and tasks when each begins.
            template = replace_in(template, Template, scope.without(DURATION) if template.kind in ("steps", "dag") else scope)
            ready = replace(call, template=template, parameters=parameters, artifacts=artifacts)
            async with self._locked(template, ready):
                node = await self._unless_cached(ready, scope)
            if template.metrics is not None and node.phase.is_fulfilled:
                return self._with_metrics(template.metrics, node, scope)
            return node
        except PachydermError as error:
            return self.table.end(self.table.begin(call, call.template.node_type), Phase.ERROR, error.message)

    def _input_artifacts(self, template: Template, given: Mapping[str, KeptArtifact], scope: Scope) -> dict[str, KeptArtifact]:
        found: dict[str, KeptArtifact] = {}
        for artifact in template.inputs.artifacts:
            kept = given.get(artifact.name) or resolve_artifact(replace_in(artifact, Artifact, scope), scope)
            if kept is not None:
                found[artifact.name] = kept
            elif not artifact.optional:
                raise InvalidError("artifact-missing", f"the template {template.name!r} needs the artifact {artifact.name!r}, which nobody gives; give it one")
        return found

    @contextlib.asynccontextmanager
    async def _locked(self, template: Template, call: Call) -> AsyncIterator[None]:
        """Holds the locks of a template for a block."""
        if template.synchronization is None:
            yield
            return
        locks = locks_of(template.synchronization, self._subject.metadata.namespace or "default", self.library.config_maps)

        def waiting(names: str) -> None:
            node = self.table.begin(call, template.node_type, Phase.PENDING)
            self.table.put(msgspec.structs.replace(node, message=f"Waiting for {names} lock"))

        with self._waits.busy():
            holding = self._locks.held(locks, waiting)
            await holding.__aenter__()
        try:
            yield
        finally:
            await holding.__aexit__(None, None, None)

    async def _unless_cached(self, call: Call, scope: Scope) -> Node:
        memoize = call.template.memoize
        if memoize is None:
            return await self._with_attempts(call, scope)
        check_memoize(memoize)
        kept = find_fresh(self._cache, memoize, self.table.now())
        if kept is not None:
            node = self.table.begin(call, call.template.node_type)
            return self.table.end(msgspec.structs.replace(node, from_cache=True), Phase.SUCCEEDED, outputs=kept.outputs)
        node = await self._with_attempts(call, scope)
        if node.phase is Phase.SUCCEEDED:
            self._cache.keep(memoize.cache.config_map.name, memoize.key, kept_of(node.outputs, self.table.now(), self._subject.metadata.name))
        return node

    async def _with_attempts(self, call: Call, scope: Scope) -> Node:
        strategy = call.template.retry_strategy
        if strategy is None:
            return await self._once(call, scope)
        return await run_attempts(call, strategy, scope, table=self.table, waits=self._waits, once=self._once)

    def _with_metrics(self, metrics: Metrics, node: Node, scope: Scope) -> Node:
        try:
            found = msgspec.structs.replace(node, metrics=measured(metrics, scope, node))
        except PachydermError as error:
            # As in Argo, what cannot be measured changes nothing for the node but what is said of it.
            found = msgspec.structs.replace(node, message=node.message or error.message)
        self.table.put(found)
        return found

    async def _once(self, call: Call, scope: Scope) -> Node:
        match call.template.kind:
            case "steps" | "dag":
                return await Flow(self, call, call.template, scope).run()
            case "resource":
                around, secrets = self._around, self.library.secrets
                return await run_resource(call, scope, table=self.table, waits=self._waits, around=around, uid=self._subject.uid, secrets=secrets)
            case "http":
                return await run_request(call, scope, table=self.table, waits=self._waits, library=self.library, send=self._send)
            case "suspend":
                return await run_suspension(call, table=self.table, waits=self._waits)
            case _:
                return await self._pods.run(call, scope)


def _late() -> None:
    return None
