"""What Dagster shows of the nodes of a workflow: a table, the tree that `argo get` draws, and a graph."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.argo.nodes import Node, NodeType, Phase
from pachyderm_dagster.argo.tree import icon, tree_lines

MOST_NODES = 200
"""So many are listed and drawn; `argo get` has all."""
_SHOWN_CHARACTERS = 200
_COLOURS: Mapping[Phase, str] = {
    Phase.SUCCEEDED: "ok",
    Phase.FAILED: "failed",
    Phase.ERROR: "failed",
    Phase.SKIPPED: "skipped",
    Phase.OMITTED: "skipped",
    Phase.RUNNING: "running",
    Phase.PENDING: "running",
}
_CLASSES = (
    "  classDef ok fill:#d3f9d8,stroke:#2b8a3e",
    "  classDef failed fill:#ffe3e3,stroke:#c92a2a",
    "  classDef skipped fill:#f1f3f5,stroke:#868e96",
    "  classDef running fill:#d0ebff,stroke:#1864ab",
)
_GROUPS = (NodeType.STEP_GROUP, NodeType.RETRY, NodeType.TASK_GROUP)
Metadata = dict[str, dg.MetadataValue]


def workflow_metadata(name: str, nodes: Sequence[Node], outputs: Node | None) -> Metadata:
    """Metadata of nodes of a workflow.

    Args:
        name: the workflow's.
        nodes: those to show, in the order in which they began.
        outputs: the node whose outputs are told of.
    """
    found: Metadata = {
        labels.WORKFLOW: dg.MetadataValue.text(name),
        labels.COMMANDS: dg.MetadataValue.md(f"`pachctl argo get {name}`, `pachctl argo logs {name}`"),
        labels.NODES: node_table(nodes),
        labels.NODE_TREE: dg.MetadataValue.md(f"```\n{node_tree(name, nodes)}\n```"),
        labels.NODE_GRAPH: dg.MetadataValue.md(f"```mermaid\n{node_graph(nodes)}\n```"),
    }
    if outputs is not None:
        found |= {f"{labels.OUTPUT_PREFIX}{key}": dg.MetadataValue.text(value) for key, value in outputs.outputs.parameters.items()}
        if outputs.outputs.result is not None:
            found[f"{labels.OUTPUT_PREFIX}result"] = dg.MetadataValue.text(outputs.outputs.result)
    return found


def node_table(nodes: Sequence[Node]) -> dg.MetadataValue:
    """Nodes that run something, or were to: when, how long, and what came of them; those that failed come first where there are too many."""
    listed = _narrowed([node for node in nodes if node.type not in _GROUPS])
    records = [
        dg.TableRecord(
            {
                "node": node.display_name,
                "phase": node.phase.value,
                "template": node.template,
                "started": _time(node.started),
                "seconds": round(max(0.0, node.finished - node.started), 3) if node.finished else 0.0,
                "pod": node.pod,
                "message": _shortened(node.message),
            }
        )
        for node in listed
    ]
    columns = [
        dg.TableColumn(name, "float" if name == "seconds" else "string") for name in ("node", "phase", "template", "started", "seconds", "pod", "message")
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def node_tree(name: str, nodes: Sequence[Node]) -> str:
    """The nodes as `argo get` draws them; of a part of a workflow, below the first of its nodes."""
    shown = _narrowed(nodes)
    known = {node.id for node in shown}
    roots = [node for node in shown if node.parent not in known and not node.name.endswith(".onExit")]
    texts: list[str] = []
    for root in roots:
        texts += [line.step + (f"  {_shortened(line.node.message)}" if line.node.message else "") for line in tree_lines(shown, root.name)]
    return "\n".join(dict.fromkeys(texts)) or name


def node_graph(nodes: Sequence[Node]) -> str:
    """The nodes as a graph in Mermaid's language, each below that which started it."""
    shown = _narrowed(nodes)
    known = {node.id: f"n{index}" for index, node in enumerate(shown)}
    lines = ["flowchart LR"]
    for node in shown:
        text = f"{icon(node)} {node.display_name}".replace('"', "'")
        lines.append(f'  {known[node.id]}["{text}"]:::{_COLOURS[node.phase]}')
    lines += [f"  {known[node.parent]} --> {known[node.id]}" for node in shown if node.parent in known]
    return "\n".join([*lines, *_CLASSES])


def told_of(nodes: Iterable[Node]) -> list[str]:
    """Lines for the run's log on nodes that changed: what runs, and what ended, how."""
    return [line for node in nodes if (line := _told(node)) is not None]


def _told(node: Node) -> str | None:
    if node.type is NodeType.STEP_GROUP or node.phase is Phase.PENDING:
        return None
    where = f"{icon(node)} {node.display_name} {node.phase}"
    if not node.phase.is_fulfilled:
        return f"{where}, pod {node.pod}" if node.pod else where
    seconds = f" after {node.finished - node.started:.1f} s" if node.type is not NodeType.SKIPPED else ""
    return f"{where}{seconds}" + (f": {node.message}" if node.message else "")


def _narrowed(nodes: Sequence[Node]) -> list[Node]:
    if len(nodes) <= MOST_NODES:
        return list(nodes)
    wanted = sorted(range(len(nodes)), key=lambda index: (not nodes[index].phase.is_failure, index))[:MOST_NODES]
    return [nodes[index] for index in sorted(wanted)]


def _time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
