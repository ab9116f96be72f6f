"""Artifacts that are elsewhere: fetched from buckets, web servers and Git, and stored in buckets."""

import importlib
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from pachyderm_dagster.argo.parameters import GitArtifact, HttpArtifact, KeyArtifact, KeyRef, Location
from pachyderm_dagster.errors import ExecutionError, InvalidError, NotFoundError

Secrets = Mapping[str, Mapping[str, str]]
_SECONDS = 60
_SCHEMES = ("http://", "https://")
# Nothing of whoever runs the workflow is asked or told: no terminal, no settings, no helper for passwords.
_GIT_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "HOME": os.devnull}


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
            _fetch_http(place.http, target)
        elif place.git is not None:
            _fetch_git(place.git, target, secrets)
        elif place.s3 is not None:
            _fetch_s3(place.s3, target, secrets)

    def store(self, place: KeyArtifact, source: Path, secrets: Secrets) -> None:
        """Puts a file, or all files of a folder below the key, into a bucket. Errors as `fetch`, and ExecutionError `artifact-not-stored`."""
        self._check(Location(s3=place))
        bucket = _bucket(place, secrets)
        try:
            if source.is_dir():
                for file in sorted(path for path in source.rglob("*") if path.is_file()):
                    bucket.put(f"{place.key.strip('/')}/{file.relative_to(source)}", file)
            else:
                bucket.put(place.key.strip("/"), source)
        except _failures() as error:
            raise ExecutionError("artifact-not-stored", f"{place.key!r} cannot be stored in the bucket {place.bucket!r}: {_line(error)}") from error

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


def _fetch_http(place: HttpArtifact, target: Path) -> None:
    if not place.url.startswith(_SCHEMES):
        raise InvalidError("url-invalid", f"{place.url!r} is no address of a file; write it with http:// or https://")
    request = urllib.request.Request(place.url, headers={one.name: one.value for one in place.headers})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response, open(target, "wb") as file:
            shutil.copyfileobj(response, file)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise NotFoundError("artifact-not-found", f"there is nothing at {place.url}; correct the address") from error
        raise ExecutionError("artifact-not-fetched", f"{place.url} answered with the status {error.code}") from error
    except OSError as error:
        raise ExecutionError("artifact-not-fetched", f"{place.url} gave no answer: {error}") from error


def _fetch_git(place: GitArtifact, target: Path, secrets: Secrets) -> None:
    if place.repo.startswith("-") or place.revision.startswith("-") or place.branch.startswith("-"):
        raise InvalidError("url-invalid", f"{place.repo!r} is no repository of Git; write its address")
    more = [*(["--branch", place.branch] if place.branch else []), *(["--single-branch"] if place.single_branch else [])]
    more += [*(["--depth", str(place.depth)] if place.depth else []), *([] if place.disable_submodules else ["--recurse-submodules"])]
    _git(place, ["clone", "--quiet", *more, "--", _with_user(place, secrets), str(target)])
    if place.revision:
        _git(place, ["-C", str(target), "checkout", "--quiet", place.revision, "--"])


def _with_user(place: GitArtifact, secrets: Secrets) -> str:
    if place.username_secret is None and place.password_secret is None:
        return place.repo
    parts = urlsplit(place.repo)
    user = quote(_secret(place.username_secret, secrets) or "git", safe="")
    password = quote(_secret(place.password_secret, secrets) or "", safe="")
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"))


def _git(place: GitArtifact, words: list[str]) -> None:
    program = shutil.which("git")
    if program is None:
        raise ExecutionError("artifact-not-fetched", f"{place.repo} is fetched by the program 'git', which is not on this machine; install it")
    environment = {"PATH": os.defpath, **_GIT_ENVIRONMENT}
    found = subprocess.run([program, *words], env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if found.returncode:
        # What git says may hold the address with its password.
        said = next((line for line in found.stderr.splitlines() if line.startswith(("fatal:", "error:")) and "@" not in line), "git failed")
        raise ExecutionError("artifact-not-fetched", f"{place.repo} cannot be fetched: {said}")


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
    except _failures() as error:
        raise ExecutionError("artifact-not-fetched", f"{key!r} of the bucket {place.bucket!r} cannot be fetched: {_line(error)}") from error


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
    # Imported by name because it takes a while, and few workflows need it.
    module: Any = importlib.import_module("obstore")
    store: Callable[..., Any] = importlib.import_module("obstore.store").S3Store
    given: dict[str, Any] = {
        "endpoint": f"{'http' if place.insecure else 'https'}://{place.endpoint}" if place.endpoint else None,
        "region": place.region or None,
        "access_key_id": _secret(place.access_key_secret, secrets),
        "secret_access_key": _secret(place.secret_key_secret, secrets),
    }
    settings = {name: value for name, value in given.items() if value is not None}
    return _Store(module, store(place.bucket, client_options={"allow_http": place.insecure}, **settings))


def _failures() -> tuple[type[Exception], ...]:
    return (importlib.import_module("obstore.exceptions").BaseError, OSError)


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(". ")


def _secret(reference: KeyRef | None, secrets: Secrets) -> str | None:
    if reference is None:
        return None
    found = secrets.get(reference.name, {}).get(reference.key)
    if found is None and not reference.optional:
        message = f"{reference.key!r} of the Secret {reference.name!r} is in none of the files; give the file that it is in too"
        raise NotFoundError("workflow-secret-not-found", message)
    return found
