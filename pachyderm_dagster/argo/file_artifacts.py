"""Artifacts of a run as files of this machine: from its store and from elsewhere, and back."""

import os
import tempfile
from pathlib import Path

from pachyderm_dagster.argo.artifact_files import ArtifactFolder, pack, set_mode, unpack
from pachyderm_dagster.argo.artifact_places import Places
from pachyderm_dagster.argo.nodes import KeptArtifact
from pachyderm_dagster.argo.parameters import Artifact
from pachyderm_dagster.argo.secret_keys import Secrets
from pachyderm_dagster.errors import InvalidError, NotFoundError


class FileArtifacts:
    """Those of one run.

    Args:
        folder: of the run.
        network: whether anything but this machine may be asked.
    """

    def __init__(self, folder: Path, *, network: bool) -> None:
        self._folder = folder
        self.store = ArtifactFolder(folder / "artifacts", lambda run: folder.parent / run / "artifacts")
        self._places = Places(network=network)

    def has(self, kept: KeptArtifact) -> bool:
        """Whether an artifact is there; of one that is elsewhere that is not asked."""
        return kept.location is not None or self.store.has(kept)

    def get(self, kept: KeptArtifact, artifact: Artifact, path: str, secrets: Secrets) -> None:
        """Puts an artifact at a path; an optional one that is not there is left out. Errors as `ArtifactFolder.get` and `Places.fetch`."""
        if artifact.optional and not self.has(kept):
            return
        if kept.location is None:
            self.store.get(kept, artifact, path)
            return
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".fetched") as scratch:
            fetched = Path(scratch) / (os.path.basename(path) or artifact.name)
            try:
                self._places.fetch(kept.location, fetched, secrets)
            except NotFoundError as error:
                if artifact.optional and error.code == "artifact-not-found":
                    return
                raise
            os.makedirs(os.path.dirname(path), exist_ok=True)
            unpack(fetched, artifact, Path(path))
        set_mode(path, artifact)

    def put(self, path: str, artifact: Artifact, default_key: str, secrets: Secrets) -> KeptArtifact:
        """Keeps a file or folder where the artifact says, or under a key that begins with `default_key`. Errors as `ArtifactFolder.put` and `Places.store`."""
        if artifact.location is None:
            return self.store.put(path, artifact, default_key)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".packed") as scratch:
            packed = Path(scratch) / "artifact"
            pack(path, artifact, packed)
            self._places.store(artifact.location, packed, secrets)
        return KeptArtifact(location=artifact.location)

    def text(self, kept: KeptArtifact, artifact: Artifact, secrets: Secrets) -> str:
        """The text of an artifact that is a file. Errors as `get`, and InvalidError `artifact-invalid`."""
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".read") as scratch:
            path = Path(scratch, "file")
            self.get(kept, artifact, str(path), secrets)
            try:
                return path.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise InvalidError("artifact-invalid", f"the artifact {artifact.name!r} is to be a file of text; found {_found(path)}") from error


def _found(path: Path) -> str:
    return "a folder" if path.is_dir() else "other bytes" if path.exists() else "nothing"
