"""The nodes of a run: each change is kept and told, and what tags of the workflow stand for follows from them."""

import datetime as dt
import json
from collections.abc import Callable

import msgspec

from pachyderm_dagster.argo import names
from pachyderm_dagster.argo.calls import Call, artifact_text
from pachyderm_dagster.argo.functions import functions
from pachyderm_dagster.argo.go_times import rfc3339
from pachyderm_dagster.argo.go_values import json_text, scalar_text
from pachyderm_dagster.argo.journal import Journal
from pachyderm_dagster.argo.nodes import Node, NodeOutputs, NodeType, Phase
from pachyderm_dagster.argo.subject import Subject, fixed_values
from pachyderm_dagster.argo.tags import Scope, evaluate_in
from pachyderm_dagster.clock import Clock

DURATION = "workflow.duration"
"""The tag for how long the workflow runs, in seconds."""


class NodeTable:
    """The nodes of a run.

    Args:
        journal: has the nodes of earlier attempts to run it, and gets those of this one.
        tell: is called with every node that changed.
    """

    def __init__(self, subject: Subject, journal: Journal, clock: Clock, tell: Callable[[Node], None]) -> None:
        self._subject, self._journal, self._clock, self._tell = subject, journal, clock, tell
        self._functions = functions(clock)
        self._fixed = self._with_labels(fixed_values(subject))
        self._published: dict[str, str] = {}
        self._phase_values: dict[str, str] = {}
        self._watching: dict[int, Callable[[], None]] = {}
        self.nodes: dict[str, Node] = journal.load()
        for node in self.nodes.values():
            self._publish(node.outputs)

    def _with_labels(self, fixed: dict[str, str]) -> dict[str, str]:
        metadata = self._subject.spec.workflow_metadata
        if metadata is None or not metadata.labels_from:
            return fixed
        scope = Scope(fixed, self._functions)
        labels = {name: scalar_text(evaluate_in(scope, one.expression)) for name, one in metadata.labels_from.items()}
        of_all = msgspec.json.decode(fixed["workflow.labels"]) | labels
        return fixed | {f"workflow.labels.{name}": value for name, value in labels.items()} | {"workflow.labels": json_text(of_all)}

    def find_fulfilled(self, name: str) -> Node | None:
        """A node that never changes again."""
        known = self.nodes.get(name)
        return known if known is not None and known.phase.is_fulfilled else None

    def begin(self, call: Call, type: NodeType, phase: Phase = Phase.RUNNING) -> Node:
        """Keeps that a node runs; one that began before keeps the time when it did."""
        known = self.nodes.get(call.name)
        workflow = self._subject.metadata.name
        node = Node(
            name=call.name,
            id=names.node_id(workflow, call.name),
            display_name=call.display_name,
            type=type,
            template=call.template.name,
            phase=phase,
            parent=call.parent,
            started=known.started if known is not None else self.now(),
            pod=names.pod_name(workflow, call.name, call.template.name) if type is NodeType.POD else "",
            inputs=dict(call.parameters),
        )
        self.put(node)
        return node

    def end(self, node: Node, phase: Phase, message: str = "", outputs: NodeOutputs | None = None) -> Node:
        """Keeps that a node ended."""
        ended = msgspec.structs.replace(node, phase=phase, message=message, outputs=outputs or NodeOutputs(), finished=self.now())
        self.put(ended)
        return ended

    def end_all(self, message: str) -> None:
        """Has every node that is not fulfilled fail."""
        for node in list(self.nodes.values()):
            if not node.phase.is_fulfilled:
                self.end(node, Phase.FAILED, message)

    def put(self, node: Node) -> None:
        """Keeps a node as it is now."""
        self.nodes[node.name] = node
        self._publish(node.outputs)
        self._journal.keep(node)
        self._tell(node)
        for look in list(self._watching.values()):
            look()

    def watch(self, look: Callable[[], None]) -> Callable[[], None]:
        """Has `look` called after every change; what is returned ends that."""
        self._watching[id(look)] = look
        return lambda: self._watching.__delitem__(id(look))

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.now().timestamp()

    def scope(self) -> Scope:
        """What tags of the workflow stand for now, as a scope."""
        return Scope(self.global_values(), self._functions)

    def global_values(self) -> dict[str, str]:
        """What tags of the workflow stand for now."""
        duration = self.now() - self._subject.created.timestamp()
        return {**self._fixed, **self._published, DURATION: f"{duration:.6f}", **self._phase_values}

    def set_final(self, root: Node) -> None:
        """Has tags know what came of the workflow."""
        failed = [node for node in self.nodes.values() if node.phase.is_failure]
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
        quoted = json.dumps(json.dumps(listed, ensure_ascii=False), ensure_ascii=False)
        self._phase_values = {"workflow.status": root.phase.value, "workflow.failures": quoted}

    def _publish(self, outputs: NodeOutputs) -> None:
        self._published |= {f"workflow.outputs.parameters.{name}": value for name, value in outputs.global_parameters.items()}
        self._published |= {f"workflow.outputs.artifacts.{name}": artifact_text(kept) for name, kept in outputs.global_artifacts.items()}
