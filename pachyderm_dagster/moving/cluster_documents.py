"""What `pachctl list commit --raw` and `pachctl list pipeline --raw` of Pachyderm 2.x print, as commits and specifications."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT

# Of a pipeline's details: what the cluster says of it, and what was never the author's. Nothing that was run there is known here, so no salt.
_STATUS = frozenset(
    {"created_at", "recent_error", "workers_requested", "workers_available", "unclaimed_tasks", "worker_rc", "salt", "update", "reprocess", "spec_commit"}
)


@dataclass(frozen=True, slots=True)
class ClusterCommit:
    """A commit as a cluster tells of it."""

    project: str
    repo: str
    branch: str
    id: str
    parent: str | None
    started: dt.datetime
    finished: dt.datetime | None
    error: str | None
    is_auto: bool
    read: tuple[tuple[str, str], ...]
    """The commits that it was made from, in the same project: repo and id."""


def read_commits(text: str, source: str) -> list[ClusterCommit]:
    """Commits of user repos, parents before their children. Raises InvalidError `import-invalid`."""
    found = [_commit(document, source) for document in _documents(text, source)]
    return sorted((commit for commit in found if commit is not None), key=lambda commit: commit.started)


def read_pipelines(text: str, source: str) -> list[dict[str, Any]]:
    """Specifications as their authors wrote them, or as the cluster has them where it does not tell. Raises InvalidError `import-invalid`."""
    return [_pipeline(document, source) for document in _documents(text, source)]


def _documents(text: str, source: str) -> Iterator[Mapping[str, Any]]:
    decoder, at = json.JSONDecoder(), 0
    while rest := text[at:].lstrip():
        try:
            document, length = decoder.raw_decode(rest)
        except ValueError as error:
            raise InvalidError("import-invalid", f"{source} is no JSON: {error}; give what `pachctl list ... --raw` printed") from error
        at = len(text) - len(rest) + length
        for each in document if isinstance(document, list) else [document]:
            if not isinstance(each, dict):
                raise InvalidError("import-invalid", f"{source} holds {each!r} where an object should be; give what `pachctl list ... --raw` printed")
            yield each


def _commit(document: Mapping[str, Any], source: str) -> ClusterCommit | None:
    try:
        commit = document["commit"]
        repo = _repo_of(commit)
        if repo.get("type", "user") != "user":
            return None
        error = document.get("error")
        return ClusterCommit(
            project=_project_of(repo),
            repo=repo["name"],
            branch=commit["branch"]["name"],
            id=commit["id"],
            parent=(document.get("parent_commit") or {}).get("id"),
            started=dt.datetime.fromisoformat(document["started"]),
            finished=None if not document.get("finished") else dt.datetime.fromisoformat(document["finished"]),
            error=str(error) if error else None,
            is_auto=document.get("origin", {}).get("kind") == "AUTO",
            read=tuple((each["repo"]["name"], each["id"]) for each in document.get("direct_provenance", ()) if each.get("repo", {}).get("type") == "user"),
        )
    except (KeyError, TypeError, ValueError) as error:
        wrong = f"{source} holds a document that is no commit of Pachyderm 2.x ({error!r})"
        raise InvalidError("import-invalid", f"{wrong}; give what `pachctl list commit REPO --raw` printed") from error


def _repo_of(commit: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = commit.get("repo") or commit["branch"]["repo"]
    return found


def _project_of(owner: Mapping[str, Any]) -> str:
    return str((owner.get("project") or {}).get("name") or DEFAULT_PROJECT)


def _pipeline(document: Mapping[str, Any], source: str) -> dict[str, Any]:
    written = document.get("user_spec_json")
    name = document.get("pipeline")
    if isinstance(written, str) and written:
        found: dict[str, Any] = json.loads(written)
        return found
    if not isinstance(name, dict) or not isinstance(document.get("details"), dict):
        raise InvalidError("import-invalid", f"{source} holds a document that is no pipeline of Pachyderm 2.x; give `pachctl list pipeline --raw`")
    details = {key: value for key, value in document["details"].items() if key not in _STATUS}
    return {"pipeline": name, **details}
