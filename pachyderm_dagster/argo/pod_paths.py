"""Where the paths of a pod are on this machine, whatever links its code made."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from pachyderm_dagster.errors import InvalidError

_MOST_LINKS = 40


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of the machine that a pod sees at `path`."""

    folder: str
    path: str
    writable: bool = True


@dataclass(frozen=True, slots=True)
class PodPaths:
    """The root of a pod and what is mounted in it."""

    root: str
    mounts: Sequence[Mount] = ()

    def find(self, path: str) -> str:
        """The path on this machine of an absolute path in the pod. Links are followed as the pod follows them, so that no link leads out of it.

        Raises:
            InvalidError: `path-invalid`.
        """
        parts = [part for part in path.split("/") if part not in ("", ".")][::-1]
        done: list[str] = []
        links = 0
        while parts:
            part = parts.pop()
            if part == "..":
                done = done[:-1]
                continue
            here = self._on_machine([*done, part])
            if not os.path.islink(here):
                done.append(part)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise InvalidError("path-invalid", f"the path {path!r} goes through too many links; name the file itself")
            target = os.readlink(here)
            if target.startswith("/"):
                done = []
            parts.extend([one for one in target.split("/") if one not in ("", ".")][::-1])
        return self._on_machine(done)

    def can_be_written(self, path: str) -> bool:
        """Whether something can be put at a path of the pod before it starts."""
        mount = self._mount_of(path)
        return mount is None or mount.writable

    def _on_machine(self, parts: Sequence[str]) -> str:
        path = "/" + "/".join(parts)
        mount = self._mount_of(path)
        return self.root + path if mount is None else mount.folder + path[len(mount.path.rstrip("/")) :]

    def _mount_of(self, path: str) -> Mount | None:
        best: Mount | None = None
        for mount in self.mounts:
            inside = path == mount.path or path.startswith(mount.path.rstrip("/") + "/")
            if inside and (best is None or len(mount.path) >= len(best.path)):
                best = mount
        return best
