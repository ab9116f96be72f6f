"""What templates gave before, by their keys: files of a home, so that every workflow of it finds them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from pachyderm_dagster.argo.bookkeeping import Memoize
from pachyderm_dagster.argo.kept_files import write_whole
from pachyderm_dagster.argo.nodes import KeptArtifact, NodeOutputs
from pachyderm_dagster.argo.retrying import to_seconds
from pachyderm_dagster.errors import InvalidError

_KEY = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]{0,199}")


class Kept(msgspec.Struct, frozen=True):
    """What a template gave: its outputs, when that was, and in which run."""

    outputs: NodeOutputs
    created: float
    run: str


class Cache(Protocol):
    """Where outputs are kept."""

    def find(self, cache: str, key: str) -> Kept | None:
        """What is kept under a key."""
        ...

    def keep(self, cache: str, key: str, kept: Kept) -> None:
        """Keeps something under a key, in place of what was there."""
        ...


def check_memoize(memoize: Memoize) -> None:
    """Does nothing when a key, whose tags are replaced, and a cache can be used.

    Raises:
        InvalidError: `cache-key-invalid`.
    """
    for what, text in (("key", memoize.key), ("cache", memoize.cache.config_map.name)):
        if not _KEY.fullmatch(text):
            raise InvalidError("cache-key-invalid", f"the {what} of 'memoize' is {text!r}; it is to be at most 200 letters, digits and '-'")


def find_fresh(cache: Cache, memoize: Memoize, now: float) -> Kept | None:
    """What a template gave before, unless that is too old."""
    kept = cache.find(memoize.cache.config_map.name, memoize.key)
    if kept is None or (memoize.max_age and now - kept.created > to_seconds(memoize.max_age)):
        return None
    return kept


def kept_of(outputs: NodeOutputs, now: float, run: str) -> Kept:
    """What is to be kept of outputs: other runs find their artifacts in this one."""
    artifacts = {name: in_run(one, run) for name, one in outputs.artifacts.items()}
    of_all = {name: in_run(one, run) for name, one in outputs.global_artifacts.items()}
    return Kept(msgspec.structs.replace(outputs, artifacts=artifacts, global_artifacts=of_all), now, run)


def in_run(artifact: KeptArtifact, run: str) -> KeptArtifact:
    """An artifact as other runs name it."""
    return artifact if artifact.raw is not None or artifact.run else msgspec.structs.replace(artifact, run=run)


class FileCache:
    """Caches as folders, with a file for each key.

    Args:
        has: whether an artifact is still there; what is kept is forgotten with its artifacts.
    """

    def __init__(self, folder: Path, has: Callable[[KeptArtifact], bool]) -> None:
        self._folder, self._has = folder, has

    def find(self, cache: str, key: str) -> Kept | None:
        """As `Cache.find`."""
        try:
            found = msgspec.json.decode(self._place(cache, key).read_bytes(), type=Kept)
        except FileNotFoundError:
            return None
        outputs = found.outputs
        return found if all(map(self._has, (*outputs.artifacts.values(), *outputs.global_artifacts.values()))) else None

    def keep(self, cache: str, key: str, kept: Kept) -> None:
        """As `Cache.keep`."""
        place = self._place(cache, key)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, msgspec.json.encode(kept))

    def _place(self, cache: str, key: str) -> Path:
        return self._folder / cache / f"{key}.json"


class MemoryCache:
    """Keeps outputs for as long as the process lives."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Kept] = {}

    def find(self, cache: str, key: str) -> Kept | None:
        """As `Cache.find`."""
        return self._kept.get((cache, key))

    def keep(self, cache: str, key: str, kept: Kept) -> None:
        """As `Cache.keep`."""
        self._kept[cache, key] = kept
