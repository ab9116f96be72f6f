"""What specifications of services and spouts may say."""

import json
from typing import Any

import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.service_rules import unused_fields
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.pps.spec_reading import parse_specs

SERVING: dict[str, Any] = {
    "pipeline": {"name": "p"},
    "transform": {"cmd": ["serve"]},
    "input": {"pfs": {"repo": "r", "glob": "/"}},
}


def read(document: dict[str, Any]) -> PipelineSpec:
    (found,) = parse_specs(json.dumps(document), source="p.json")
    return found


def test_empty_spout_is_a_spout() -> None:
    found = read(SERVING | {"input": None, "spout": {}})
    assert (found.kind, found.input, found.port) == ("spout", None, None)


def test_service_listens_on_its_internal_port() -> None:
    found = read(SERVING | {"service": {"internalPort": 8888, "externalPort": "30888", "type": "ClusterIP"}})
    assert (found.kind, found.port) == ("service", 8888)
    assert PipelineSpec.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"service": {"internal_port": 1}, "spout": {}}, "p.json: has 'service' and 'spout'; a spout that listens on a port says so in 'spout.service'"),
        ({"spout": {}}, "input: a spout has no input; remove it, or write 'service'"),
        ({"input": None}, "input: required, but not given"),
        ({"service": {"type": "NodePort"}}, "service.internal_port: required: the port that the code listens on"),
        ({"service": {"internal_port": 65536}}, "service.internal_port: 65536 is no port; they end at 65535"),
        ({"spout": {"service": {"external_port": 70000}}, "input": None}, "spout.service.external_port: 70000 is no port"),
        (
            {"service": {"internal_port": 1, "type": "Ingress"}},
            "service.type: expected 'NodePort' or 'ClusterIP' or 'LoadBalancer', found the string 'Ingress'",
        ),
        ({"service": {"internal_port": 1}, "parallelism_spec": {"constant": 2}}, "parallelism_spec: a service is one process"),
        ({"service": {"internal_port": 1}, "egress": {"URL": "file:///tmp/x"}}, "egress: a service has no output that a job sends"),
        ({"service": {"internal_port": 1}, "transform": {"cmd": ["x"], "datum_batching": True}}, "transform.datum_batching: a service has no datums"),
        ({"spout": {}, "input": None, "autoscaling": True}, "autoscaling: a spout has no datums to be scaled by"),
    ],
)
def test_what_cannot_be_a_service_or_a_spout_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        read(SERVING | changes)
    assert message in str(caught.value)


def test_fields_without_use_for_a_process_that_stays_are_known() -> None:
    found = read(SERVING | {"service": {"internal_port": 1, "external_port": 2, "ip": "1.2.3.4"}, "datum_tries": 2, "job_timeout": "1h"})
    assert unused_fields(found) == ("datum_tries", "job_timeout", "service.external_port", "service.ip")
    assert unused_fields(read(SERVING | {"datum_tries": 2})) == ()
