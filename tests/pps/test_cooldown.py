"""How long workers stay, where a pipeline says it itself."""

import json
import math
from typing import Any

import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.cooldown import cooldown_of
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.pps.spec_reading import parse_specs


def spec(said: str | None, **more: Any) -> PipelineSpec:
    annotations = {} if said is None else {"pachyderm-dagster/cooldown-seconds": said}
    document = {
        "pipeline": {"name": "edges"},
        "input": {"pfs": {"repo": "images", "glob": "/*"}},
        "transform": {"cmd": ["true"]},
        "autoscaling": True,
        "metadata": {"annotations": annotations},
        **more,
    }
    (found,) = parse_specs(json.dumps(document), source="test")
    return found


@pytest.mark.parametrize(("said", "seconds"), [(None, 300.0), ("0", 0.0), ("60", 60.0), ("1.5", 1.5), ("never", math.inf)])
def test_annotation_wins_over_the_setting(said: str | None, seconds: float) -> None:
    assert cooldown_of(spec(said), 300.0) == seconds


@pytest.mark.parametrize("said", ["", "-1", "5m", "inf", "nan", "1e3", "Never", "٣"])
def test_what_is_no_time_is_refused(said: str) -> None:
    with pytest.raises(InvalidError, match=r"metadata\.annotations: pachyderm-dagster/cooldown-seconds is '.*'; it takes a number of seconds"):
        spec(said)


def test_it_is_refused_where_no_worker_stays() -> None:
    with pytest.raises(InvalidError, match="add 'autoscaling: true', or remove it"):
        spec("60", autoscaling=False)
