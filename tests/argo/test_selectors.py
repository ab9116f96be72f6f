"""Which nodes are meant."""

import pytest

from pachyderm_dagster.argo.nodes import Node, NodeType, Phase
from pachyderm_dagster.argo.selectors import selected
from pachyderm_dagster.errors import InvalidError

NODE = Node(
    name="wf[0].ask", id="wf-1", display_name="ask", type=NodeType.SUSPEND, template="approve", phase=Phase.RUNNING, inputs={"env": "prod", "a.b": "x=y"}
)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", True),
        ("displayName=ask", True),
        ("displayName==ask,templateName=approve", True),
        ("displayName=ask, templateName=other", False),
        ("displayName!=ask", False),
        ("phase=Running", True),
        ("id=wf-1", True),
        ("name=wf[0].ask", True),
        ("inputs.parameters.env.value=prod", True),
        ("inputs.parameters.env.value!=prod", False),
        ("inputs.parameters.a.b.value=x=y", True),
        ("inputs.parameters.gone.value=", True),
    ],
)
def test_nodes_are_selected_by_their_fields(selector: str, expected: bool) -> None:
    assert selected(selector, NODE) is expected


@pytest.mark.parametrize("selector", ["ask", "colour=red"])
def test_a_selector_that_is_none_is_refused(selector: str) -> None:
    with pytest.raises(InvalidError, match="selector-invalid"):
        selected(selector, NODE)
