"""Where what is declared stands: `REPO_URL@REF:FOLDER`."""

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from pachyderm_dagster.errors import InvalidError

_FORM = "write REPO_URL@REF:FOLDER, as https://git.example.com/team/pipelines.git@main:production"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]+")
_MOST_NAME = 60


@dataclass(frozen=True, slots=True)
class GitSource:
    """A folder in a repository of Git, at a branch, tag or commit.

    Attributes:
        url: of the repository, as `git fetch` takes it.
        ref: the branch, tag or commit.
        folder: within the repository; empty for all of it.
    """

    url: str
    ref: str
    folder: str = ""

    def __str__(self) -> str:
        return f"{self.url}@{self.ref}:{self.folder}" if self.folder else f"{self.url}@{self.ref}"

    @property
    def usual_name(self) -> str:
        """What a sync of it is called when nobody says: the repository's name, and the folder's."""
        repository = re.split(r"[/:]", self.url.rstrip("/"))[-1].removesuffix(".git")
        words = _NOT_IN_NAMES.sub("-", f"{repository}-{self.folder}" if self.folder else repository).strip("-")
        return words[:_MOST_NAME].rstrip("-") or "sync"


def parse_source(text: str, *, base: str) -> GitSource:
    """The source that a text names; a repository on this machine may be named by its path, from `base`.

    Raises:
        InvalidError: `sync-source-invalid`.
    """
    url, at, rest = text.rpartition("@")
    ref, _, folder = rest.partition(":")
    if not at or not ref or not _is_url(url) or ref.startswith("-") or url.startswith("-"):
        raise InvalidError("sync-source-invalid", f"{text!r} names no folder of a Git repository; {_FORM}")
    if ":" in urlsplit(url).netloc.rpartition("@")[0]:
        raise InvalidError(
            "sync-source-invalid",
            "the address of the repository has a password in it, which would be kept and shown; leave it out, and let git know it: 'git help credentials'",
        )
    clean = os.path.normpath(folder).strip("/") if folder.strip("/") else ""
    if clean == ".":
        clean = ""
    if clean.startswith("..") or "\x00" in clean:
        raise InvalidError("sync-source-invalid", f"the folder {folder!r} is not within the repository; {_FORM}")
    return GitSource(os.path.abspath(os.path.join(base, url)) if _is_path(url) else url, ref, clean)


def _is_path(url: str) -> bool:
    return "://" not in url and (url.startswith((".", "/")) or ":" not in url.partition("/")[0])


def _is_url(url: str) -> bool:
    """Whether it can be one. An address that ends before its path had its `@` before the host's name, so that the ref is missing."""
    _, scheme, address = url.partition("://")
    return "/" in address if scheme else "/" in url or ":" in url or url in (".", "..")
