"""What a Pachyderm 2.x cluster shows through its S3 gateway: a bucket a branch, `branch.repo.project`, and of a commit `commit.branch.repo.project`."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT
from pachyderm_dagster.pfs.object_sources import RemoteObject, list_objects_if_any, object_download
from pachyderm_dagster.pfs.transfers import Transfers

_COMMIT = re.compile(r"[0-9a-f]{32}")
_PIECE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, order=True)
class GatewayBucket:
    """A bucket of the gateway.

    Attributes:
        commit: the id of the commit that it shows; None of one that shows the head of its branch.
    """

    name: str
    project: str
    repo: str
    branch: str
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class GatewayFile:
    """A file in a bucket. `source` is equal for equal content."""

    path: str
    source: str
    read: Callable[[], Iterator[bytes]]


def parse_bucket(name: str) -> GatewayBucket:
    """What a bucket is, by its name: `repo`, `branch.repo`, `branch.repo.project`, each perhaps behind `commit.`.

    Raises:
        InvalidError: `bucket-invalid`.
    """
    parts = name.split(".")
    commit = parts.pop(0) if len(parts) > 1 and _COMMIT.fullmatch(parts[0]) else None
    match parts:
        case [repo]:
            return GatewayBucket(name, DEFAULT_PROJECT, repo, "master", commit)
        case [branch, repo]:
            return GatewayBucket(name, DEFAULT_PROJECT, repo, branch, commit)
        case [branch, repo, project]:
            return GatewayBucket(name, project, repo, branch, commit)
    raise InvalidError("bucket-invalid", f"bucket {name!r} is none of Pachyderm's gateway: it names buckets [COMMIT.]BRANCH.REPO[.PROJECT]")


def parse_buckets(names: Iterable[str]) -> list[GatewayBucket]:
    """Buckets in the order in which they are read: of a branch those of commits as they were given, then the head. Errors as `parse_bucket`."""
    found = [parse_bucket(name) for name in names]
    return sorted(found, key=lambda bucket: (bucket.project, bucket.repo, bucket.branch, bucket.commit is None))


def read_bucket(bucket: GatewayBucket, transfers: Transfers) -> Iterator[GatewayFile]:
    """The files that a bucket shows, to be read in any order.

    Raises:
        InvalidError: `source-unreadable`.
        UnreachableError: `source-unreachable`.
        NotFoundError: `source-not-found`, when there is no such bucket.
    """
    url = f"s3://{bucket.name}"
    for found in list_objects_if_any(url):
        yield GatewayFile(f"/{found.name}", f"{found.size} {found.tag}", partial(_pieces, url, found, transfers))


def _pieces(url: str, found: RemoteObject, transfers: Transfers) -> Iterator[bytes]:
    download = object_download(f"{url}/{found.name}", transfers)
    try:
        while piece := download.read(_PIECE_BYTES):
            yield piece
    finally:
        download.close()


def by_branch(buckets: Sequence[GatewayBucket]) -> Iterator[tuple[tuple[str, str, str], list[GatewayBucket]]]:
    """The buckets of each branch: (project, repo, branch), and what shows it."""
    found: dict[tuple[str, str, str], list[GatewayBucket]] = {}
    for bucket in buckets:
        found.setdefault((bucket.project, bucket.repo, bucket.branch), []).append(bucket)
    yield from found.items()
