"""Artifacts as files: into the store of a workflow, and out of it."""

import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from pachyderm_dagster.argo.nodes import KeptArtifact
from pachyderm_dagster.argo.parameters import Archive, Artifact
from pachyderm_dagster.errors import ExecutionError, InvalidError, NotFoundError

_PIECE = "content"


class ArtifactFolder:
    """A folder that holds artifacts by key.

    Args:
        of_run: where that folder is of another run.
    """

    def __init__(self, folder: Path, of_run: Callable[[str], Path] | None = None) -> None:
        self._folder, self._of_run = folder, of_run

    def put(self, path: str, artifact: Artifact, default_key: str) -> KeptArtifact:
        """Keeps a file or folder under the artifact's own key, or under one that begins with `default_key`.

        Raises:
            InvalidError: `artifact-key-invalid`.
        """
        kept = key_for(artifact, default_key)
        target = self.place(kept.key)
        target.parent.mkdir(parents=True, exist_ok=True)
        pack(path, artifact, target)
        return kept

    def get(self, kept: KeptArtifact, artifact: Artifact, path: str) -> None:
        """Puts an artifact where a pod expects it. An archive is unpacked; where it holds a single entry, that is the artifact.

        Raises:
            NotFoundError: `artifact-not-found`.
            InvalidError: `artifact-key-invalid`.
            ExecutionError: `artifact-not-unpacked`.
        """
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if kept.raw is not None:
            Path(path).write_text(kept.raw)
        else:
            source = self.place(kept.key, kept.run)
            if not source.exists():
                raise NotFoundError("artifact-not-found", f"there is no artifact under the key {kept.key!r}; look at what the step before wrote")
            unpack(source, artifact, Path(path))
        set_mode(path, artifact)

    def has(self, kept: KeptArtifact) -> bool:
        """Whether an artifact is there."""
        return kept.raw is not None or self.place(kept.key, kept.run).exists()

    def place(self, key: str, run: str = "") -> Path:
        """Where an artifact is, as it is kept, whether or not it is there.

        Raises:
            InvalidError: `artifact-key-invalid`.
        """
        folder = self._of_run(run) if run and self._of_run is not None else self._folder
        place = Path(os.path.normpath(folder / key.strip("/")))
        if not place.is_relative_to(folder) or place == folder:
            raise InvalidError("artifact-key-invalid", f"{key!r} is no key of an artifact; write it as 'folder/name'")
        return place


def key_for(artifact: Artifact, default_key: str) -> KeptArtifact:
    """What an output artifact is kept under: its own key, or one that begins with `default_key`."""
    return KeptArtifact(artifact.s3.key if artifact.s3 else default_key + ending_of(artifact))


def ending_of(artifact: Artifact) -> str:
    """What the name of an artifact has at its end, by how it is kept."""
    archive = artifact.archive or Archive()
    return "" if archive.none is not None else ".zip" if archive.zip is not None else ".tgz"


def pack(path: str, artifact: Artifact, target: Path) -> None:
    """Writes a file or folder as it is kept, in place of what was there."""
    archive = artifact.archive or Archive()
    _remove(target)
    if archive.none is not None:
        _copy(path, target)
    elif archive.zip is not None:
        _zip(path, target)
    else:
        _tar(path, target, archive.tar.compression_level if archive.tar else None)


def set_mode(path: str, artifact: Artifact) -> None:
    """Gives an artifact the permissions that it is to have."""
    if artifact.mode is not None:
        _set_mode(path, artifact.mode, everything=artifact.recurse_mode)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy(path: str, target: Path) -> None:
    if os.path.isdir(path):
        shutil.copytree(path, target, symlinks=True)
    else:
        shutil.copy2(path, target)


def _tar(path: str, target: Path, level: int | None) -> None:
    with tarfile.open(target, "w:gz", compresslevel=6 if level is None else level) as archive:
        archive.add(path, arcname=os.path.basename(path.rstrip("/")) or _PIECE)


def _zip(path: str, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        if not os.path.isdir(path):
            archive.write(path, os.path.basename(path))
        for folder, _, names in os.walk(path):
            for name in names:
                file = os.path.join(folder, name)
                archive.write(file, os.path.relpath(file, path))


def unpack(source: Path, artifact: Artifact, path: Path) -> None:
    """Puts what is kept where it is expected, unpacked.

    Raises:
        ExecutionError: `artifact-not-unpacked`.
    """
    _remove(path)
    is_wanted_plain = artifact.archive is not None and artifact.archive.none is not None
    is_zip = artifact.archive is not None and artifact.archive.zip is not None
    if source.is_dir() or is_wanted_plain or not (is_zip or tarfile.is_tarfile(source)):
        _copy(str(source), path)
        return
    unpacked = path.with_name(f".{path.name}.unpacked")
    try:
        if is_zip:
            with zipfile.ZipFile(source) as zipped:
                zipped.extractall(unpacked)
        else:
            with tarfile.open(source) as archive:
                untar(archive, unpacked)
    except (tarfile.TarError, zipfile.BadZipFile, OSError) as error:
        raise ExecutionError("artifact-not-unpacked", f"the artifact {artifact.name!r} cannot be unpacked: {error}; say 'archive: {{none: {{}}}}'") from error
    entries = list(unpacked.iterdir())
    if len(entries) == 1 and not is_zip:
        entries[0].rename(path)
        unpacked.rmdir()
    else:
        unpacked.rename(path)


def untar(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpacks an archive into a folder, and nothing of it elsewhere.

    Raises:
        tarfile.TarError, OSError: it cannot be unpacked, or would not stay there.
    """
    if hasattr(tarfile, "tar_filter"):
        archive.extractall(folder, filter="tar")
    else:
        # Python 3.11.3 and older.
        members = archive.getmembers()
        _check_members(members)
        archive.extractall(folder, members)


def _check_members(members: list[tarfile.TarInfo]) -> None:
    links: set[PurePosixPath] = set()
    for member in members:
        for name in (member.name, *([member.linkname] if member.islnk() else [])):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not links.isdisjoint(path.parents) or (member.islnk() and path in links):
                raise tarfile.ExtractError(f"{name!r} leads out of the archive")
        if member.issym():
            links.add(PurePosixPath(member.name))


def _set_mode(path: str, mode: int, *, everything: bool) -> None:
    os.chmod(path, mode)
    if everything and os.path.isdir(path):
        for folder, folders, names in os.walk(path):
            for name in (*folders, *names):
                os.chmod(os.path.join(folder, name), mode)
