"""Names of jobs on a cluster: what Kubernetes takes, and one for each job."""

import dataclasses
import re
import string

from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.executors.kubernetes.names import JobNames, WorkerNames, label_value
from pachyderm_dagster.pfs.model import RepoName
from tests.executors.kubernetes.test_manifests import HOME, job_of

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?")
PIPELINES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,50}", fullmatch=True)


@given(PIPELINES, PIPELINES, st.integers(1, 99_999))
def test_names_are_what_kubernetes_takes(project: str, pipeline: str, version: int) -> None:
    names = JobNames(HOME, dataclasses.replace(job_of(project, pipeline), version=version))
    # Pods are called NAME-INDEX, with up to 10,000 of them, and that is a host name.
    assert DNS_LABEL.fullmatch(names.name) and len(names.name) + len("-9999") <= 63
    for value in names.labels.values():
        assert LABEL_VALUE.fullmatch(value) and len(value) <= 63


@given(PIPELINES, PIPELINES, st.integers(1, 99_999), st.binary())
def test_names_of_workers_are_too(project: str, pipeline: str, version: int, content: bytes) -> None:
    names = WorkerNames(HOME, RepoName(project, pipeline), version, content)
    # A ReplicaSet adds its hash, of up to ten letters; what a pod's name has beyond 63 its host name goes without.
    assert DNS_LABEL.fullmatch(names.name) and len(names.name) + len("-0123456789") <= 72
    for value in names.labels.values():
        assert LABEL_VALUE.fullmatch(value) and len(value) <= 63
    assert names.name != WorkerNames(HOME, RepoName(project, pipeline), version + 1, content).name
    assert names.name != WorkerNames(HOME, RepoName(project, pipeline), version, content + b"x").name


@given(st.text(alphabet=string.printable, max_size=100))
def test_label_is_a_label_whatever_it_comes_from(text: str) -> None:
    value = label_value(text)
    assert LABEL_VALUE.fullmatch(value) and len(value) <= 63


def test_other_jobs_have_other_names() -> None:
    job = job_of("vision", "edges")
    others = [
        JobNames(HOME, job),
        JobNames(HOME.replace("0", "1"), job),
        JobNames(HOME, job_of("vision", "Edges")),
        JobNames(HOME, job_of("vision", "edges_")),
        JobNames(HOME, job_of("sound", "edges")),
        JobNames(HOME, dataclasses.replace(job, version=4)),
        JobNames(HOME, dataclasses.replace(job, id=job.id[:-1] + "0")),
    ]
    assert len({one.name for one in others}) == len(others)


def test_name_is_the_same_in_each_attempt() -> None:
    job = job_of("vision", "edges")
    assert JobNames(HOME, job).name == JobNames(HOME, dataclasses.replace(job, restarts=7, run_id="another", key=9)).name
