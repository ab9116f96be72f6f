"""Artifacts that are the files of a commit of Git, fetched by the program `git`."""

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from pachyderm_dagster.argo.parameters import GitArtifact
from pachyderm_dagster.argo.secret_keys import Secrets, find_secret
from pachyderm_dagster.errors import ExecutionError, InvalidError

# Nothing of whoever runs the workflow is asked or told: no terminal, no settings, no helper for passwords.
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "HOME": os.devnull}
_ANY_HOST = ("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={os.devnull}", "-o", "LogLevel=ERROR")


def fetch_git(place: GitArtifact, target: Path, secrets: Secrets) -> None:
    """Puts the files of a commit into a folder that is not there yet.

    Raises:
        InvalidError: `url-invalid`.
        NotFoundError: `workflow-secret-not-found`.
        ExecutionError: `artifact-not-fetched`.
    """
    if any(word.startswith("-") for word in (place.repo, place.revision, place.branch, *place.fetch)):
        raise InvalidError("url-invalid", f"{place.repo!r} is no repository of Git; write its address")
    more = [*(["--branch", place.branch] if place.branch else []), *(["--single-branch"] if place.single_branch else [])]
    more += [*(["--depth", str(place.depth)] if place.depth else []), *([] if place.disable_submodules else ["--recurse-submodules"])]
    with _environment(place, secrets) as environment:
        _git(place, ["clone", "--quiet", *more, "--", _with_user(place, secrets), str(target)], environment)
        if place.fetch:
            depth = ["--depth", str(place.depth)] if place.depth else []
            _git(place, ["-C", str(target), "fetch", "--quiet", *depth, "origin", *place.fetch], environment)
        if place.revision:
            _git(place, ["-C", str(target), "checkout", "--quiet", place.revision, "--"], environment)


@contextlib.contextmanager
def _environment(place: GitArtifact, secrets: Secrets) -> Iterator[dict[str, str]]:
    found = {"PATH": os.defpath, **_ENVIRONMENT}
    if place.insecure_skip_tls:
        found["GIT_SSL_NO_VERIFY"] = "1"
    key = find_secret(place.ssh_private_key_secret, secrets)
    if key is None:
        yield found
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "key")
        file.touch(mode=0o600)
        # Editors and YAML take the line end from its end, without which ssh reads no key.
        file.write_text(key.rstrip("\n") + "\n")
        yield {**found, "GIT_SSH_COMMAND": shlex.join(_ssh(file, any_host=place.insecure_ignore_host_key))}


def _ssh(key: Path, *, any_host: bool) -> list[str]:
    program = shutil.which("ssh")
    if program is None:
        raise ExecutionError("artifact-not-fetched", "a repository of Git is reached by the program 'ssh', which is not on this machine; install it")
    return [program, "-F", os.devnull, "-i", str(key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", *(_ANY_HOST if any_host else ())]


def _with_user(place: GitArtifact, secrets: Secrets) -> str:
    if place.username_secret is None and place.password_secret is None:
        return place.repo
    parts = urlsplit(place.repo)
    user = quote(find_secret(place.username_secret, secrets) or "git", safe="")
    password = quote(find_secret(place.password_secret, secrets) or "", safe="")
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"))


def _git(place: GitArtifact, words: list[str], environment: Mapping[str, str]) -> None:
    program = shutil.which("git")
    if program is None:
        raise ExecutionError("artifact-not-fetched", f"{place.repo} is fetched by the program 'git', which is not on this machine; install it")
    found = subprocess.run([program, *words], env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if found.returncode:
        # What git says may hold the address with its password.
        said = next((line for line in found.stderr.splitlines() if line.startswith(("fatal:", "error:")) and "@" not in line), "git failed")
        raise ExecutionError("artifact-not-fetched", f"{place.repo} cannot be fetched: {said}")
