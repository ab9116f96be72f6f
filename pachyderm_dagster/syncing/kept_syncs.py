"""What is remembered of each source that a home was made like: at which commit, and what it declared."""

import datetime as dt
import re
import shutil
from pathlib import Path

import msgspec

from pachyderm_dagster.argo.kept_files import write_whole
from pachyderm_dagster.errors import ConflictError, InvalidError, NotFoundError
from pachyderm_dagster.syncing.differences import Thing
from pachyderm_dagster.syncing.source import GitSource

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


class KeptSync(msgspec.Struct, frozen=True, kw_only=True):
    """A source, and what became of it.

    Attributes:
        commit: what was declared there is done; empty before the first time.
        looked: when the source was last asked, in seconds.
        synced: when something was last done, in seconds.
        things: what it declared, and what is there because it did.
        left: those of them that it declares no more, and that stay.
        error: why the last time failed; empty when it did not.
    """

    name: str
    url: str
    ref: str
    folder: str
    project: str
    commit: str = ""
    looked: float = 0.0
    synced: float = 0.0
    things: tuple[Thing, ...] = ()
    left: tuple[Thing, ...] = ()
    error: str = ""

    @property
    def status(self) -> str:
        """In Argo CD's words, whether something is there that is declared no more: it waits for `prune`, or for somebody to delete it."""
        return "OutOfSync" if self.left else "Synced"

    @property
    def source(self) -> GitSource:
        """Where it is declared."""
        return GitSource(self.url, self.ref, self.folder)


class KeptSyncs:
    """All of a home.

    Args:
        home: the home's folder.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "sync"

    def list(self) -> list[KeptSync]:
        """All of them, by name."""
        found = (_load(path) for path in sorted(self._folder.glob("*.json")))
        return [one for one in found if one is not None]

    def find(self, name: str) -> KeptSync | None:
        """One of them."""
        return _load(self._path(name))

    def get(self, name: str) -> KeptSync:
        """One of them.

        Raises:
            NotFoundError: `sync-not-found`.
        """
        found = self.find(name) if _NAME.fullmatch(name) else None
        if found is None:
            known = ", ".join(repr(one.name) for one in self.list()) or "none"
            raise NotFoundError("sync-not-found", f"there is no sync {name!r}; those that there are: {known}")
        return found

    def begun(self, name: str, source: GitSource, project: str) -> KeptSync:
        """The one of a name, or a new one.

        Raises:
            InvalidError: `name-invalid`.
            ConflictError: `sync-conflict`, when it is of another repository or folder.
        """
        if not _NAME.fullmatch(name):
            raise InvalidError("name-invalid", f"{name!r} names no sync; it takes up to 63 letters, digits, '_' and '-', and begins with a letter or digit")
        found = self.find(name)
        if found is None:
            return KeptSync(name=name, url=source.url, ref=source.ref, folder=source.folder, project=project)
        if (found.url, found.folder, found.project) != (source.url, source.folder, project):
            problem = f"the sync {name!r} is of {found.source} in project '{found.project}'"
            raise ConflictError("sync-conflict", f"{problem}; give this one another name with --name, or `pachctl delete sync {name}` first")
        return msgspec.structs.replace(found, ref=source.ref)

    def check_apart(self, sync: KeptSync, things: tuple[Thing, ...]) -> None:
        """Whether no other source declares the same.

        Raises:
            ConflictError: `sync-conflict`.
        """
        for other in self.list():
            both = sorted(set(other.things) & set(things)) if other.name != sync.name else []
            if both:
                problem = f"{both[0]} is declared by the sync {other.name!r} too, of {other.source}"
                raise ConflictError("sync-conflict", f"{problem}; declare it in one place, or `pachctl delete sync {other.name}`")

    def put(self, sync: KeptSync) -> None:
        """Remembers one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._path(sync.name), msgspec.json.encode(sync))

    def delete(self, name: str) -> None:
        """Forgets one, and what was fetched of it."""
        self._path(name).unlink(missing_ok=True)
        shutil.rmtree(self.cache(name), ignore_errors=True)

    def cache(self, name: str) -> Path:
        """Where what is fetched of it is kept."""
        return self._folder / f"{name}.git"

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _load(path: Path) -> KeptSync | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=KeptSync)
    except FileNotFoundError:
        return None


def time_of(seconds: float) -> dt.datetime | None:
    """A time that is remembered; None for never."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC) if seconds else None
