"""The figures for Prometheus, as a scrape of a real home gives them."""

import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pachyderm_dagster.errors import ExistsError
from pachyderm_dagster.record import open_record
from pachyderm_dagster.server.metrics import serving
from tests.cli.pachctl import Pachctl

LABELS = ("part", "project", "pipeline", "state", "outcome")
PIPELINE = b"""{"pipeline": {"name": "loud"}, "input": {"pfs": {"repo": "books", "glob": "/*"}}, "datum_tries": 1,
  "transform": {"cmd": ["sh"], "stdin": ["if [ -e /pfs/books/bad ]; then exit 3; fi", "cp /pfs/books/* /pfs/out/"]}}"""


@pytest.fixture
def home(pachctl: Pachctl) -> dict[str, str]:
    """One job with two good datums, then one with one that failed and two that were skipped, then one that waits."""
    pachctl("create", "repo", "books")
    pachctl.put("books@master:/a", "1")
    pachctl.put("books@master:/b", "1")
    pachctl("create", "pipeline", "-f", "-", stdin=PIPELINE)
    pachctl("wait", "commit", "loud@master")
    pachctl.put("books@master:/bad", "1")
    pachctl.run("wait", "commit", "loud@master")
    pachctl.put("books@master:/c", "1")
    return dict(os.environ)


@pytest.fixture
def scrape(home: dict[str, str]) -> Iterator["Scrape"]:
    record = open_record(home)
    with serving(record, "127.0.0.1", 0) as port:
        yield Scrape(port)
    record.database.close()


class Scrape:
    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self) -> dict[str, dict[tuple[str, ...], float]]:
        """The values by name and by labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for sample in (sample for family in families for sample in family.samples):
            found.setdefault(sample.name, {})[tuple(sample.labels[label] for label in LABELS if label in sample.labels)] = sample.value
        return found


def test_scrape_counts_jobs_datums_pipelines_and_commits(scrape: "Scrape") -> None:
    found = scrape()
    assert found["pachyderm_jobs"] == {("default", "loud", "SUCCESS"): 1, ("default", "loud", "FAILURE"): 1, ("default", "loud", "CREATED"): 1}
    datums = {outcome: number for (_project, _pipeline, outcome), number in found["pachyderm_job_datums"].items()}
    assert datums == {"processed": 2, "skipped": 2, "failed": 1, "recovered": 0}
    assert found["pachyderm_pipelines"] == {("default", "RUNNING"): 1}
    # Four of books, and an output of each job.
    assert found["pachyderm_commits"] == {("default",): 7}
    assert 0 <= found["pachyderm_oldest_unfinished_job_seconds"]["default",] < 600
    assert found["pachyderm_up"] == {("record",): 1, ("store",): 1}
    assert found["pachyderm_errors_total"] == {("record",): 0, ("store",): 0}


def test_store_that_does_not_answer_is_a_figure_and_hides_no_other(scrape: "Scrape", environment_of_its_own: Path) -> None:
    scrape()
    (environment_of_its_own / "objects").rename(environment_of_its_own / "away")
    (environment_of_its_own / "objects").write_text("no folder")
    found = scrape()
    assert found["pachyderm_up"] == {("record",): 1, ("store",): 0}
    assert found["pachyderm_errors_total"] == {("record",): 0, ("store",): 1}
    assert found["pachyderm_commits"] == {("default",): 7}


def test_port_that_is_taken_is_refused(scrape: "Scrape", home: dict[str, str]) -> None:
    record = open_record(home)
    with pytest.raises(ExistsError, match="port-taken"), serving(record, "127.0.0.1", scrape.port):
        pass
    record.database.close()
