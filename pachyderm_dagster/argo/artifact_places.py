"""Artifacts that are elsewhere: fetched from buckets, web servers and Git, and stored in buckets and on web servers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pachyderm_dagster.argo.git_artifacts import fetch_git
from pachyderm_dagster.argo.parameters import KeyArtifact, Location
from pachyderm_dagster.argo.s3_buckets import bucket_failures, failure_line, open_bucket
from pachyderm_dagster.argo.secret_keys import Secrets
from pachyderm_dagster.argo.web_artifacts import fetch_web, store_web
from pachyderm_dagster.errors import ExecutionError, InvalidError, NotFoundError


class Places:
    """Where artifacts are that are in no store of a workflow.

    Args:
        network: whether anything but this machine may be asked.
    """

    def __init__(self, *, network: bool) -> None:
        self._network = network

    def fetch(self, place: Location, target: Path, secrets: Secrets) -> None:
        """Puts what is at a place into a file or folder that is not there yet.

        Raises:
            InvalidError: `network-not-allowed`, `url-invalid`.
            NotFoundError: `workflow-secret-not-found`, `artifact-not-found`.
            ExecutionError: `artifact-not-fetched`.
        """
        self._check(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        if place.http is not None:
            fetch_web(place.http, target, secrets)
        elif place.git is not None:
            fetch_git(place.git, target, secrets)
        elif place.s3 is not None:
            _fetch_s3(place.s3, target, secrets)

    def store(self, place: Location, source: Path, secrets: Secrets) -> None:
        """Puts a file, or all files of a folder below the key, into a bucket, or a file to a web server. Errors as `fetch`, and ExecutionError
        `artifact-not-stored`.
        """
        self._check(place)
        if place.http is not None:
            store_web(place.http, source, secrets)
        elif place.s3 is not None:
            _store_s3(place.s3, source, secrets)

    def _check(self, place: Location) -> None:
        if not self._network:
            raise InvalidError(
                "network-not-allowed", f"{_named(place)} is elsewhere, and the workflow was submitted without a network; submit it with --network"
            )


def _named(place: Location) -> str:
    if place.http is not None:
        return place.http.url
    if place.git is not None:
        return place.git.repo
    return f"s3://{place.s3.bucket}/{place.s3.key}" if place.s3 else ""


def _fetch_s3(place: KeyArtifact, target: Path, secrets: Secrets) -> None:
    bucket = _bucket(place, secrets)
    key = place.key.strip("/")
    try:
        found = [key] if bucket.has(key) else list(bucket.below(key))
        if not found:
            raise NotFoundError("artifact-not-found", f"there is no object {key!r} in the bucket {place.bucket!r}; look at its name")
        for path in found:
            file = target if path == key else target / path.removeprefix(f"{key}/")
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(file, "wb") as written:
                for part in bucket.get(path):
                    written.write(part)
    except bucket_failures() as error:
        raise ExecutionError("artifact-not-fetched", f"{key!r} of the bucket {place.bucket!r} cannot be fetched: {failure_line(error)}") from error


def _store_s3(place: KeyArtifact, source: Path, secrets: Secrets) -> None:
    bucket = _bucket(place, secrets)
    try:
        if source.is_dir():
            for file in sorted(path for path in source.rglob("*") if path.is_file()):
                bucket.put(f"{place.key.strip('/')}/{file.relative_to(source)}", file)
        else:
            bucket.put(place.key.strip("/"), source)
    except bucket_failures() as error:
        raise ExecutionError("artifact-not-stored", f"{place.key!r} cannot be stored in the bucket {place.bucket!r}: {failure_line(error)}") from error


class _Store:
    """A bucket, with the few calls that are made of it."""

    def __init__(self, module: Any, store: Any) -> None:
        self._module, self._store = module, store

    def has(self, path: str) -> bool:
        try:
            self._module.head(self._store, path)
        except FileNotFoundError:
            return False
        return True

    def below(self, folder: str) -> Iterator[str]:
        for page in self._module.list(self._store, prefix=folder):
            for one in page:
                yield one["path"]

    def get(self, path: str) -> Any:
        return self._module.get(self._store, path).stream()

    def put(self, path: str, file: Path) -> None:
        self._module.put(self._store, path, file)


def _bucket(place: KeyArtifact, secrets: Secrets) -> _Store:
    module, store = open_bucket(
        place.bucket,
        endpoint=place.endpoint,
        region=place.region,
        insecure=place.insecure,
        access_key=place.access_key_secret,
        secret_key=place.secret_key_secret,
        secrets=secrets,
    )
    return _Store(module, store)
