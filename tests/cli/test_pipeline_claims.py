"""Claims to pipelines: who has them, and for how long."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from pachyderm_dagster.cli.pipeline_claims import PipelineClaims
from pachyderm_dagster.coordination.names import followed_lease
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.workspace import Workspace, open_workspace

ONE, TWO, THREE = (RepoName("default", name) for name in ("one", "two", "three"))


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with closing(open_workspace(os.environ)) as opened:
        yield opened


@pytest.fixture
def claims(workspace: Workspace) -> Iterator[PipelineClaims]:
    with PipelineClaims(workspace.leases, workspace.database.clock) as made:
        yield made


@pytest.fixture
def others(workspace: Workspace) -> Iterator[PipelineClaims]:
    with PipelineClaims(workspace.leases, workspace.database.clock) as made:
        yield made


def test_all_are_had_or_none(workspace: Workspace, claims: PipelineClaims, others: PipelineClaims) -> None:
    others.take([TWO])
    claims.take([ONE])
    with pytest.raises(StateError, match="'two' already: process .*dev-running"):
        claims.take([THREE, TWO])
    assert [workspace.leases.is_held(followed_lease("default", name)) for name in ("one", "two", "three")] == [True, True, False]


def test_what_is_named_no_more_is_given_back(claims: PipelineClaims, others: PipelineClaims) -> None:
    claims.take([ONE, TWO])
    claims.take([TWO, THREE])
    others.take([ONE])
    assert others
    claims.take([])
    assert not claims
    others.take([ONE, TWO, THREE])


def test_all_are_given_back_at_the_end(workspace: Workspace, claims: PipelineClaims) -> None:
    with PipelineClaims(workspace.leases, workspace.database.clock) as before:
        before.take([ONE, TWO])
    claims.take([ONE, TWO])


def test_claim_that_was_lost_is_made_again_unless_another_has_it(workspace: Workspace, claims: PipelineClaims, monkeypatch: pytest.MonkeyPatch) -> None:
    claims.take([ONE])
    lease = followed_lease("default", "one")
    owner = workspace.leases.find_owner(lease)
    assert owner is not None
    # As after a sleep of the machine.
    workspace.leases.release(lease, owner)
    monkeypatch.setattr("pachyderm_dagster.coordination.leases.HeldLease.is_lost", lambda _held: True)
    claims.take([ONE])
    assert workspace.leases.find_owner(lease) not in (None, owner)
