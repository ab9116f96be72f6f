"""Several changes of repos, branches and commits as one."""

from collections.abc import Sequence

from pachyderm_dagster.client.arguments import checked_text
from pachyderm_dagster.client.changes import check_not_over
from pachyderm_dagster.pfs.model import Branch, Commit, Repo
from pachyderm_dagster.pfs.references import parse_reference, parse_repo
from pachyderm_dagster.pfs.requests import CreateBranch, CreateRepo, DeleteBranch, DeleteRepo, FinishCommit, StartCommit
from pachyderm_dagster.pfs.short_references import commit_in
from pachyderm_dagster.pps.client import Pps
from pachyderm_dagster.pps.requests import Request
from pachyderm_dagster.storage.own_process import OwnProcess


class ClientTransaction:
    """Changes that wait for the end of a `Client.transaction` block. Files are not part of it: put them into a commit that it started.

    All methods raise StateError `block-ended` behind the end of the block, and `writer-forked` in a forked child.

    Attributes:
        made: behind the block, what each call made, changed or removed, in their order.
    """

    def __init__(self, project: str) -> None:
        self.made: list[Repo | Branch | Commit] = []
        self._project = project
        self._requests: list[Request] = []
        self._process = OwnProcess()
        self._over = False

    def create_repo(self, repo: str, *, description: str = "") -> None:
        """As `Client.create_repo`."""
        self._add(CreateRepo(parse_repo(repo, project=self._project), checked_text(description, "description")))

    def delete_repo(self, repo: str, *, force: bool = False) -> None:
        """As `Client.delete_repo`."""
        self._add(DeleteRepo(parse_repo(repo, project=self._project), force=force))

    def create_branch(self, branch: str, *, head: str | None = None, provenance: Sequence[str] = ()) -> None:
        """As `Client.create_branch`."""
        name = parse_reference(branch, project=self._project).branch()
        at = None if head is None else commit_in(name.repo, head, project=self._project)
        sources = tuple(parse_reference(source, project=self._project).branch() for source in provenance)
        self._add(CreateBranch(name, at, sources))

    def delete_branch(self, branch: str, *, force: bool = False) -> None:
        """As `Client.delete_branch`."""
        self._add(DeleteBranch(parse_reference(branch, project=self._project).branch(), force))

    def start_commit(self, branch: str, *, parent: str | None = None, description: str = "") -> None:
        """As `Client.start_commit`."""
        name = parse_reference(branch, project=self._project).branch()
        at = None if parent is None else commit_in(name.repo, parent, project=self._project)
        self._add(StartCommit(name, at, checked_text(description, "description")))

    def finish_commit(self, commit: str, *, description: str | None = None, error: str | None = None) -> None:
        """As `Client.finish_commit`."""
        for text, what in ((description, "description"), (error, "error")):
            if text is not None:
                checked_text(text, what)
        self._add(FinishCommit(parse_reference(commit, project=self._project), description, error))

    def apply(self, pps: Pps) -> None:
        """Makes the changes; the end of the block calls it. Errors as `Pps.apply_all`."""
        self._process.check()
        for made in pps.apply_all(self._requests):
            self.made += [one for one in made if isinstance(one, Repo | Branch | Commit)]

    def end(self) -> None:
        """Takes no more changes; the end of the block calls it."""
        self._over = True

    def _add(self, request: Request) -> None:
        self._process.check()
        check_not_over(self._over)
        self._requests.append(request)
