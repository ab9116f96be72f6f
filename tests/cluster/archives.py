"""Images as files that `ctr images import` and `docker load` read, OCI layouts with what Docker wants beside, made without a registry and without a daemon.

The same contents are the same bytes: files are in the order of their paths, all as old as one another.
"""

import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""What images call what the machine calls itself."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a layer, or a link or a folder. Its contents are bytes, or those of a file of the machine."""

    path: str
    contents: bytes | Path = b""
    mode: int = 0o644
    link: str | None = None
    is_folder: bool = False
    user: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """A tar file with the digest of what is in it."""

    file: Path
    digest: str


@dataclass(frozen=True, slots=True)
class Image:
    """Layers from the lowest up, and what a container of it runs unless its pod says something else."""

    name: str
    layers: Sequence[Layer]
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    user: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    working_folder: str = "/"


def folder_members(folder: Path, target: str, leave_out: Sequence[str] = ("__pycache__",)) -> Iterable[Member]:
    """What is in a folder of the machine, at `target` in the image, but for files and folders of some names."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in leave_out]
        inside = Path(target) / Path(parent).relative_to(folder)
        yield Member(str(inside), mode=0o755, is_folder=True)
        for name in files:
            path = Path(parent, name)
            if name not in leave_out:
                yield _member_of(path, str(inside / name))
        for name in folders:
            if Path(parent, name).is_symlink():
                yield _member_of(Path(parent, name), str(inside / name))


def write_layer(target: Path, members: Iterable[Member]) -> Layer:
    """Writes a layer; a member whose name begins with `.wh.` takes the file of that name in lower layers away."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for member in sorted(members, key=lambda member: member.path):
            _add(archive, member)
    return read_layer(target)


def read_layer(file: Path) -> Layer:
    with file.open("rb") as opened:
        return Layer(file, hashlib.file_digest(opened, "sha256").hexdigest())


def write_image(target: Path, image: Image, there: Collection[str] = ()) -> None:
    """Writes an image as an OCI layout with Docker's list of contents beside. The file is there when it is whole.

    Layers whose digests are `there`, where the image goes to, are left out.
    """
    configuration = _Blob("application/vnd.oci.image.config.v1+json", json.dumps(configuration_of(image, ARCHITECTURES[os.uname().machine])).encode())
    layers = [_describe("application/vnd.oci.image.layer.v1.tar", layer.digest, layer.file.stat().st_size) for layer in image.layers]
    described = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": configuration.description, "layers": layers}
    manifest = _Blob(_MANIFEST, json.dumps(described).encode())
    named = {**manifest.description, "annotations": {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name}}
    for_docker = [{"Config": configuration.path, "RepoTags": [image.name], "Layers": [_blob_path(layer.digest) for layer in image.layers]}]
    beside = target.with_name(f"{target.name}.new")
    with tarfile.open(beside, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, Member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'))
        _add(archive, Member("index.json", json.dumps({"schemaVersion": 2, "manifests": [named]}).encode()))
        _add(archive, Member("manifest.json", json.dumps(for_docker).encode()))
        for blob in (manifest, configuration):
            _add(archive, Member(blob.path, blob.contents))
        for layer in {layer.digest: layer for layer in image.layers}.values():
            if layer.digest not in there:
                _add(archive, Member(_blob_path(layer.digest), layer.file))
    beside.rename(target)


def configuration_of(image: Image, architecture: str) -> Mapping[str, object]:
    """The configuration of an image as the OCI image specification has it."""
    runs: dict[str, object] = {"WorkingDir": image.working_folder, "Env": [f"{name}={value}" for name, value in image.environ.items()]}
    if image.entrypoint:
        runs["Entrypoint"] = list(image.entrypoint)
    if image.command:
        runs["Cmd"] = list(image.command)
    if image.user:
        runs["User"] = image.user
    return {
        "architecture": architecture,
        "os": "linux",
        "config": runs,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in image.layers]},
    }


_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True, slots=True)
class _Blob:
    media_type: str
    contents: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.contents).hexdigest()

    @property
    def path(self) -> str:
        return _blob_path(self.digest)

    @property
    def description(self) -> Mapping[str, object]:
        return _describe(self.media_type, self.digest, len(self.contents))


def _describe(media_type: str, digest: str, size: int) -> Mapping[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def _blob_path(digest: str) -> str:
    return f"blobs/sha256/{digest}"


def _member_of(path: Path, target: str) -> Member:
    if path.is_symlink():
        return Member(target, link=str(path.readlink()))
    return Member(target, path, mode=stat.S_IMODE(path.stat().st_mode))


def _add(archive: tarfile.TarFile, member: Member) -> None:
    info = tarfile.TarInfo(member.path.strip("/"))
    info.mode, info.uid, info.gid = member.mode, member.user, member.user
    if member.is_folder:
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    elif member.link is not None:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, member.link, 0o777
        archive.addfile(info)
    elif isinstance(member.contents, Path):
        info.size = member.contents.stat().st_size
        with member.contents.open("rb") as contents:
            archive.addfile(info, contents)
    else:
        info.size = len(member.contents)
        archive.addfile(info, io.BytesIO(member.contents))
