"""What the pods of a workflow, and what they need, are called on a cluster: the same whenever a process goes on with a run."""

from dataclasses import dataclass
from typing import Any

from pachyderm_dagster.codec import digest
from pachyderm_dagster.executors.kubernetes.names import MANAGED_BY, PREFIX, label_value, slug

HOME_LABEL = f"{PREFIX}/workflow-home"
"""The id of the runs of a home."""
RUN_LABEL = f"{PREFIX}/workflow-uid"
WORKFLOW_ANNOTATION = f"{PREFIX}/workflow"
NODE_ANNOTATION = f"{PREFIX}/node"
POD_ANNOTATION = f"{PREFIX}/workflow-pod"
TRY_ANNOTATION = f"{PREFIX}/try"
"""How often the node was forgotten after it had ended."""
_MOST = 63
_OWN = 16


@dataclass(frozen=True, slots=True)
class RunNames:
    """What belongs to one run of a workflow.

    Args:
        home: id of the runs of a home.
        uid: of the run.
        workflow: its name.
        owner: NAME/UID of the pod with which all of it goes; empty for none.
    """

    home: str
    uid: str
    workflow: str
    owner: str = ""

    @property
    def selector(self) -> str:
        """Of all that belongs to the run."""
        return f"{RUN_LABEL}={self.uid}"

    @property
    def labels(self) -> dict[str, str]:
        """For people and selectors."""
        return {**MANAGED_BY, HOME_LABEL: self.home, RUN_LABEL: self.uid, f"{PREFIX}/workflow-name": label_value(self.workflow)}

    @property
    def annotations(self) -> dict[str, str]:
        """The whole name, which a label cannot hold."""
        return {WORKFLOW_ANNOTATION: self.workflow}

    @property
    def metadata(self) -> dict[str, Any]:
        """Of an object of the run, but for its own name and what is said of it beside this."""
        name, _, uid = self.owner.partition("/")
        owners = [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}] if uid else []
        return {"labels": self.labels, "annotations": self.annotations, **({"ownerReferences": owners} if owners else {})}

    def object_name(self, kind: str, name: str) -> str:
        """Of a pod, or of something that pods need: a DNS label, and another one for another run."""
        own = digest("workflow-object", [part.encode() for part in (self.uid, kind, name)]).hex()[:_OWN]
        return f"{slug(name, _MOST - _OWN - 1, otherwise='pod')}-{own}"

    def pod(self, name: str) -> str:
        """Of the pod that the engine calls so."""
        return self.object_name("pod", name)

    def claim(self, name: str) -> str:
        """Of a claim of the workflow's own."""
        return self.object_name("claim", name)
