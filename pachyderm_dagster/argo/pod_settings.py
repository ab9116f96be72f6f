"""The environment and the volumes of a pod, from what its template, its workflow, ConfigMaps and Secrets say."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pachyderm_dagster.argo.containers import ConfigVolume, Container, SecretVolume, Volume, VolumeMount
from pachyderm_dagster.argo.parameters import KeyRef
from pachyderm_dagster.argo.pod_paths import Mount, PodPaths
from pachyderm_dagster.argo.pods import Pod
from pachyderm_dagster.errors import InvalidError, NotFoundError

Values = Mapping[str, Mapping[str, str]]


def environment_of(pod: Pod, container: Container) -> dict[str, str]:
    """The variables of a container.

    Raises:
        NotFoundError: `config-map-not-found`, `workflow-secret-not-found`.
    """
    found: dict[str, str] = {}
    for source in container.env_from:
        for named, values, is_secret in ((source.config_map_ref, pod.config_maps, False), (source.secret_ref, pod.secrets, True)):
            if named is not None:
                all_values = values.get(named.name)
                if all_values is None and not named.optional:
                    raise _missing(named.name, is_secret=is_secret)
                found |= {source.prefix + key: value for key, value in (all_values or {}).items()}
    for variable in container.env:
        value = variable.value or ""
        if variable.value_from is not None:
            of_config = _value(variable.value_from.config_map_key_ref, pod.config_maps, is_secret=False)
            of_secret = _value(variable.value_from.secret_key_ref, pod.secrets, is_secret=True)
            given = of_config if of_config is not None else of_secret
            if given is None:
                continue
            value = given
        found[variable.name] = value
    return found


def _value(reference: KeyRef | None, values: Values, *, is_secret: bool) -> str | None:
    if reference is None:
        return None
    found = values.get(reference.name, {}).get(reference.key)
    if found is None and not reference.optional:
        raise _missing(reference.name, is_secret=is_secret, key=reference.key)
    return found


def _missing(name: str, *, is_secret: bool, key: str = "") -> NotFoundError:
    wanted = f"{key!r} of " if key else ""
    if is_secret:
        return NotFoundError("workflow-secret-not-found", f"{wanted}the Secret {name!r} is in none of the files; give the file that it is in too")
    return NotFoundError("config-map-not-found", f"{wanted}the ConfigMap {name!r} is in none of the files; give the file that it is in too")


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
        InvalidError: `path-invalid`.
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
        _fill(folder, volume.config_map, volume.config_map.name, pod.config_maps, is_secret=False)
    if volume.secret is not None:
        _fill(folder, volume.secret, volume.secret.secret_name, pod.secrets, is_secret=True)
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


def _fill(folder: Path, volume: ConfigVolume | SecretVolume, name: str, values: Values, *, is_secret: bool) -> None:
    found = values.get(name)
    if found is None:
        if volume.optional:
            return
        raise _missing(name, is_secret=is_secret)
    wanted = {one.path: one.key for one in volume.items} or {key: key for key in found}
    for path, key in wanted.items():
        if key not in found:
            raise _missing(name, is_secret=is_secret, key=key)
        if path.startswith("/") or ".." in path.split("/"):
            raise InvalidError("path-invalid", f"the path {path!r} of the key {key!r} leads out of its volume; name a file inside")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(found[key])
