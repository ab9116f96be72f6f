"""Requests that are events, kept before they are answered: each a commit of the home, on a branch of its EventSource's repo."""

import datetime as dt
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pachyderm_dagster.argo.events import Event, Origin, event_id, webhook_event
from pachyderm_dagster.argo.names import name_in_repos
from pachyderm_dagster.errors import NotFoundError, StateError
from pachyderm_dagster.pfs.client import Modification
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, BranchName, Commit, RepoName
from pachyderm_dagster.pfs.named_commits import CommitName
from pachyderm_dagster.workspace import Workspace

FILE = "/event.json"
ID_HEADERS = ("Idempotency-Key", "Webhook-Id", "Ce-Id")
"""Headers by which senders say that a request is one that they sent before."""
_ABOUT = "a request"


class KeptRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it is kept.

    Attributes:
        header: what a name, in the spelling of Go, was given; several values where it was given several times.
        body: JSON.
    """

    time: dt.datetime
    header: dict[str, list[str]]
    body: msgspec.Raw


def branch_of_requests(origin: Origin) -> BranchName:
    """Where the events of a webhook are kept."""
    return BranchName(RepoName(DEFAULT_PROJECT, f"argo-events-{name_in_repos(origin.source)}"), origin.name)


@dataclass(frozen=True, slots=True)
class KeptRequests:
    """The requests of one webhook. For several threads."""

    workspace: Workspace
    origin: Origin
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def branch(self) -> BranchName:
        """Where they are."""
        return branch_of_requests(self.origin)

    def make_repo(self) -> None:
        """Makes the repo, unless it is there."""
        self.workspace.pfs.create_repo(str(self.branch.repo), description="requests that are events", update=True)

    def keep(self, header: Mapping[str, list[str]], body: bytes) -> str:
        """Keeps a request, and returns its id. One that was sent before is kept already.

        Args:
            body: JSON.

        Raises:
            PachydermError: as `Pfs.modify_file` and `Pfs.write_once`; then nothing is kept.
        """
        sent = next((f"{name}:{header[name][0]}" for name in ID_HEADERS if header.get(name)), None)
        content = msgspec.json.encode(KeptRequest(time=self.workspace.database.clock.now(), header=dict(header), body=msgspec.Raw(body)))
        if sent is not None:
            return self._keep_once(event_id(self.origin.source, self.origin.name, sent), content)
        # Those that come at the same time share a transaction.
        with self.workspace.pfs.modify_file(str(self.branch), description=_ABOUT, joins_open=False) as files:
            _write(files, content)
        return files.commit.id

    def _keep_once(self, id: str, content: bytes) -> str:
        try:
            # One by one: such commits of a branch stand in each other's way.
            with self._turn, self.workspace.pfs.write_once(str(self.branch), CommitName(id, _ABOUT)) as files:
                _write(files, content)
        except StateError as error:
            # It was there, started what it was to start, and was cleared away.
            if error.code != "commit-removed":
                raise
        return id

    def event_of(self, commit: Commit, metadata: Mapping[str, str]) -> Event | None:
        """The event that a kept request is; None for what somebody else put there, or whose content was given up."""
        try:
            kept = msgspec.json.decode(b"".join(self.workspace.pfs.get_file(f"{commit}:{FILE}")), type=KeptRequest)
            body: Any = msgspec.json.decode(kept.body)
        except (NotFoundError, StateError, msgspec.MsgspecError):
            return None
        return webhook_event(self.origin, commit.id, kept.time, kept.header, body, metadata)


def _write(files: Modification, content: bytes) -> None:
    files.delete_directory("/")
    files.put_bytes(FILE, content)
