"""The volumes of a pod of this machine: folders, which are made and filled when a container first mounts them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pachyderm_dagster.argo.containers import ConfigVolume, DownwardFile, KeyPath, ProjectedSource, Volume, VolumeMount
from pachyderm_dagster.argo.pod_paths import Mount, PodPaths
from pachyderm_dagster.argo.pod_settings import Values, field_of, values_missing
from pachyderm_dagster.argo.pods import Pod
from pachyderm_dagster.errors import InvalidError, NotFoundError


@dataclass(frozen=True, slots=True)
class Claims:
    """Where volumes are that are no pod's own.

    Attributes:
        of_run: those of the workflow's claim templates.
        staying: those that outlive it.
    """

    of_run: Path
    staying: Path


def mounts_of(pod: Pod, wanted: tuple[VolumeMount, ...], own: Path, claims: Claims) -> tuple[Mount, ...]:
    """What a container of a pod mounts; folders of volumes are made.

    Args:
        wanted: its mounts.
        own: where the volumes of this pod alone are.

    Raises:
        NotFoundError: `volume-not-found`, `claim-not-found`, `config-map-not-found`, `workflow-secret-not-found`.
        InvalidError: `path-invalid`, `field-unknown`.
    """
    volumes = {volume.name: volume for volume in pod.volumes}
    found = []
    for mount in wanted:
        folder = _folder(mount.name, volumes, pod, own, claims)
        if mount.sub_path:
            folder = _below(folder, mount)
        found.append(Mount(str(folder), "/" + mount.mount_path.strip("/"), not mount.read_only))
    return tuple(sorted(found, key=lambda mount: mount.path))


def _below(folder: Path, mount: VolumeMount) -> Path:
    if mount.sub_path.startswith("/") or ".." in mount.sub_path.split("/"):
        raise InvalidError("path-invalid", f"the subPath {mount.sub_path!r} of the volume {mount.name!r} leads out of it; name a folder inside")
    found = Path(PodPaths(str(folder)).find(mount.sub_path))
    if not found.exists():
        found.mkdir(parents=True)
    return found


def _folder(name: str, volumes: Mapping[str, Volume], pod: Pod, own: Path, claims: Claims) -> Path:
    if name in pod.claims:
        (claims.of_run / name).mkdir(parents=True, exist_ok=True)
        return claims.of_run / name
    if name not in volumes:
        raise NotFoundError("volume-not-found", f"the container mounts the volume {name!r}, which is not among those that there are; add it to 'volumes'")
    volume = volumes[name]
    if volume.persistent_volume_claim is not None:
        return _claimed(volume.persistent_volume_claim.claim_name, claims)
    folder = own / name
    if folder.is_dir():
        # Another container of the pod has it too.
        return folder
    folder.mkdir(parents=True)
    if volume.config_map is not None:
        _fill_from_values(folder, volume.config_map, pod.config_maps, is_secret=False, mode=volume.config_map.default_mode)
    if volume.secret is not None:
        secret = volume.secret
        named = ConfigVolume(name=secret.secret_name, items=secret.items, optional=secret.optional)
        _fill_from_values(folder, named, pod.secrets, is_secret=True, mode=secret.default_mode)
    if volume.downward_api is not None:
        _fill_from_pod(folder, volume.downward_api.items, pod, mode=volume.downward_api.default_mode)
    for source in volume.projected.sources if volume.projected is not None else ():
        assert volume.projected is not None
        _fill_from_source(folder, source, pod, mode=volume.projected.default_mode)
    return folder


def _claimed(name: str, claims: Claims) -> Path:
    if "/" in name or name.startswith("."):
        raise InvalidError("path-invalid", f"{name!r} is no name of a claim; write it with letters, digits and '-'")
    if (claims.of_run / name).is_dir():
        return claims.of_run / name
    place = claims.staying / name
    if not place.is_dir():
        raise NotFoundError("claim-not-found", f"there is no volume for the claim {name!r}; make the folder {place}, and put in it what is to be there")
    return place


def _fill_from_source(folder: Path, source: ProjectedSource, pod: Pod, *, mode: int | None) -> None:
    if source.config_map is not None:
        _fill_from_values(folder, source.config_map, pod.config_maps, is_secret=False, mode=mode)
    if source.secret is not None:
        _fill_from_values(folder, source.secret, pod.secrets, is_secret=True, mode=mode)
    if source.downward_api is not None:
        _fill_from_pod(folder, source.downward_api.items, pod, mode=mode)


def _fill_from_values(folder: Path, volume: ConfigVolume, values: Values, *, is_secret: bool, mode: int | None) -> None:
    found = values.get(volume.name)
    if found is None:
        if volume.optional:
            return
        raise values_missing(volume.name, is_secret=is_secret)
    for item in volume.items or [KeyPath(key=key, path=key) for key in found]:
        if item.key not in found:
            raise values_missing(volume.name, is_secret=is_secret, key=item.key)
        _write(folder, item.path, found[item.key], mode if item.mode is None else item.mode)


def _fill_from_pod(folder: Path, items: Iterable[DownwardFile], pod: Pod, *, mode: int | None) -> None:
    for item in items:
        if item.field_ref is not None:
            _write(folder, item.path, field_of(pod, item.field_ref.field_path), mode if item.mode is None else item.mode)


def _write(folder: Path, path: str, text: str, mode: int | None) -> None:
    if path.startswith("/") or ".." in path.split("/"):
        raise InvalidError("path-invalid", f"the path {path!r} of a file leads out of its volume; name a file inside")
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    if mode is not None:
        file.chmod(mode)
