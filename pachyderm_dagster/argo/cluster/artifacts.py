"""Artifacts of a run on their way to its pods, and from them: the engine's side."""

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from pachyderm_dagster.argo.artifact_files import ArtifactFolder, key_for, untar
from pachyderm_dagster.argo.artifact_places import Places
from pachyderm_dagster.argo.cluster.area import Answer, File, Gave, Given, Order, PodArea, RunArea, Wanted, get_file
from pachyderm_dagster.argo.cluster.layout import given_name
from pachyderm_dagster.argo.cluster.manifests import BELOW, main_mounts
from pachyderm_dagster.argo.containers import Script
from pachyderm_dagster.argo.nodes import KeptArtifact, NodeOutputs
from pachyderm_dagster.argo.outputs import has_main, outputs_of
from pachyderm_dagster.argo.parameters import Artifact
from pachyderm_dagster.argo.pods import Pod
from pachyderm_dagster.codec import digest
from pachyderm_dagster.errors import InvalidError, NotFoundError

_ANY_TIME = 315_619_200
"""Of 1980, before which no zip archive takes anything."""


class RunArtifacts:
    """Those of one run.

    Args:
        folder: of the run, which has all of them.
        workflow: its name, which keys begin with.
    """

    def __init__(self, folder: Path, workflow: str, area: RunArea) -> None:
        self._folder, self._workflow, self._area = folder, workflow, area
        self._kept = ArtifactFolder(folder / "artifacts", lambda run: folder.parent / run / "artifacts")
        self._places = Places(network=True)

    def order(self, pod: Pod) -> Order:
        """What goes into a pod, put into the area of the run, and what is wanted of it.

        Raises:
            NotFoundError: `artifact-not-found`, `workflow-secret-not-found`.
            InvalidError: `path-invalid`, `artifact-key-invalid`, `url-invalid`.
            ExecutionError: `artifact-not-fetched`.
        """
        wanted = tuple(_wanted(pod)) if has_main(pod) else ()
        for path in (one.path for one in wanted):
            if "\n" in path or path != path.strip():
                raise InvalidError("path-invalid", f"the path {path!r} of an output cannot be told to the pod; write it in one line without blanks around it")
        (container, *_) = pod.template.containers
        script = container.source if isinstance(container, Script) and container.source else None
        return Order(tuple(self._given(pod)), wanted, script, pod.keeps_result and has_main(pod))

    def _given(self, pod: Pod) -> Iterator[Given]:
        for number, artifact in enumerate(pod.template.inputs.artifacts):
            kept = pod.artifacts.get(artifact.name)
            if kept is not None and (found := self._find(pod, kept, artifact)) is not None:
                file, raw, folder = found
                yield Given(given_name(number), artifact, file, target=_target(pod, artifact), raw=raw, folder=folder)

    def _find(self, pod: Pod, kept: KeptArtifact, artifact: Artifact) -> tuple[File, bool, bool] | None:
        """An artifact in the area; whether it is the content itself, and whether it is a folder in an archive. None of an optional one that is nowhere."""
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".given") as scratch:
            if kept.raw is not None:
                path = Path(scratch, "raw")
                path.write_text(kept.raw)
                return self._area.give(f"raw-{digest('raw', [kept.raw.encode()]).hex()}", lambda: path), True, False
            path = self._kept.place(kept.key, kept.run) if kept.location is None else Path(scratch, "fetched")
            try:
                if kept.location is not None:
                    self._places.fetch(kept.location, path, pod.secrets)
                elif not path.exists():
                    raise NotFoundError("artifact-not-found", f"there is no artifact under the key {kept.key!r}; look at what the step before wrote")
            except NotFoundError as error:
                if artifact.optional and error.code == "artifact-not-found":
                    return None
                raise
            is_folder = path.is_dir()
            if kept.location is None:
                return self._area.give(_id_of(path, kept), lambda: _packed(path, Path(scratch, "folder"))), False, is_folder
            # What is elsewhere may be another content each time.
            fetched = _packed(path, Path(scratch, "folder"), _undated)
            with open(fetched, "rb") as file:
                id = f"fetched-{hashlib.file_digest(file, 'sha256').hexdigest()}"
            return self._area.give(id, lambda: fetched), False, is_folder

    def outputs(self, pod: Pod, area: PodArea, answer: Answer | None, bare: NodeOutputs) -> NodeOutputs:
        """What a pod gave, with its artifacts in the folder of the run.

        Raises:
            ExecutionError: `output-not-written`, `artifact-not-stored`.
        """
        if not has_main(pod):
            return bare
        found = answer or Answer(code=0)

        def keep(artifact: Artifact) -> KeptArtifact | None:
            gave = found.artifacts.get(artifact.name)
            return None if gave is None else self._keep(pod, artifact, area, gave)

        return outputs_of(pod, bare, keep=keep, written=lambda one: found.parameters.get(one.name), result=lambda: found.result or "")

    def _keep(self, pod: Pod, artifact: Artifact, area: PodArea, gave: Gave) -> KeptArtifact:
        if artifact.location is not None:
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=".gave") as scratch:
                self._fetch(area, gave, Path(scratch, "artifact"))
                self._places.store(artifact.location, Path(scratch, "artifact"), pod.secrets)
            return KeptArtifact(location=artifact.location)
        kept = key_for(artifact, f"{self._workflow}/{pod.name}/{artifact.name}")
        self._fetch(area, gave, self._kept.place(kept.key))
        return kept

    def _fetch(self, area: PodArea, gave: Gave, target: Path) -> None:
        if not gave.folder:
            get_file(area.store, gave.file, target)
            return
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".gave") as scratch:
            packed, unpacked = Path(scratch, "packed"), Path(scratch, "unpacked")
            get_file(area.store, gave.file, packed)
            with tarfile.open(packed) as archive:
                untar(archive, unpacked)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                target.rename(Path(scratch, "before"))
            os.replace(unpacked, target)


def _wanted(pod: Pod) -> Iterator[Wanted]:
    for one in pod.template.outputs.parameters:
        if one.value_from is not None:
            yield Wanted(one.value_from.path, one.name)
    for artifact in pod.template.outputs.artifacts:
        yield Wanted(artifact.path, artifact.name, artifact)


def _target(pod: Pod, artifact: Artifact) -> str:
    """Where `begin` puts an artifact that is below a volume of the main container; empty for any other, which is mounted at its path."""
    inside = any(artifact.path.startswith(mount.mount_path.rstrip("/") + "/") for mount in main_mounts(pod.template))
    return BELOW + artifact.path if inside else ""


def _packed(path: Path, archive: Path, change: Callable[[tarfile.TarInfo], tarfile.TarInfo] | None = None) -> Path:
    """A file as it is, a folder as an archive."""
    if not path.is_dir():
        return path
    with tarfile.open(archive, "w") as written:
        written.add(path, arcname=".", filter=change)
    return archive


def _undated(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime = _ANY_TIME
    return entry


def _id_of(path: Path, kept: KeptArtifact) -> str:
    """Another one for each content that a key had: what is kept is replaced, and never written in its place."""
    found = path.stat()
    return f"kept-{digest('kept', [kept.key.encode(), kept.run.encode(), str((found.st_mtime_ns, found.st_size, found.st_ino)).encode()]).hex()}"
