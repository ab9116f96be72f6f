"""Files of commits where others read them: below the URL of a bucket, by repo and commit, each under its path.

What a commit holds never changes, so that a file is written once, whoever writes it and however often he begins; a mark beside says that all are there.
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.model import Commit, RepoName
from pachyderm_dagster.pfs.paths import path_of
from pachyderm_dagster.pfs.uploading import Upload, Uploaded, is_there, upload
from pachyderm_dagster.storage.content import ContentReader
from pachyderm_dagster.storage.rows import FILE_ROWS, contents_of
from pachyderm_dagster.storage.tree_reading import decode_root
from pachyderm_dagster.workspace import Workspace

_SCHEMES = ("s3", "gs", "file")
_MARKS = "complete"
"""Not beside a commit's folder: whoever reads that takes all whose name begins as it does."""


def check_root(root: str) -> str:
    """The URL below which commits are written, without a slash at its end.

    Raises:
        InvalidError: `artifact-root-invalid`.
    """
    parts = urlsplit(root)
    if parts.scheme not in _SCHEMES or "@" in parts.netloc or parts.query or parts.fragment or bool(parts.netloc) is (parts.scheme == "file"):
        raise InvalidError(
            "artifact-root-invalid",
            f"{root!r} is no place from which Kubeflow imports; write s3://bucket/prefix, gs://bucket/prefix or file:///folder, without user or password",
        )
    return root.rstrip("/")


def artifact_uri(root: str, repo: RepoName, commit: str) -> str:
    """Where the files of a commit are."""
    return f"{root}/{_folder(repo, commit)}"


def is_uri_of(uri: str, repo: RepoName, commit: str) -> bool:
    """Whether a URI is that of this commit, below whatever root."""
    return uri.rstrip("/").endswith(f"/{_folder(repo, commit)}")


def publish_commit(workspace: Workspace, commit: Commit, root: str) -> Uploaded | None:
    """Writes the files of a commit below a root, unless all of them are there: then None. It may be ended at any time and begun again.

    Raises:
        InvalidError: `artifact-root-invalid`; others as `upload`.
    """
    root = check_root(root)
    mark = f"{_MARKS}/{_folder(commit.repo, commit.id)}"
    if is_there(root, mark):
        return None
    done = upload(root, _uploads(workspace, commit))
    upload(root, [Upload(mark, 0, lambda: iter(()))])
    return done


def _folder(repo: RepoName, commit: str) -> str:
    return f"{repo.project}/{repo.name}/{commit}"


def _uploads(workspace: Workspace, commit: Commit) -> Iterator[Upload]:
    folder = _folder(commit.repo, commit.id)
    reader: ContentReader = workspace.pfs.reader
    for rows in workspace.pfs.trees.read(decode_root(FILE_ROWS, commit.tree)):
        for key, content in zip(rows.column("key").to_pylist(), contents_of(rows), strict=True):
            yield Upload(f"{folder}{path_of(key)}", content.size, lambda content=content: reader.stream(content))  # type: ignore[misc]
