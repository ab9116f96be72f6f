"""The environment and the volumes of a pod, from what its template, its workflow, ConfigMaps and Secrets say."""

from collections.abc import Mapping
from pathlib import Path

from pachyderm_dagster.argo.containers import ConfigVolume, Container, SecretVolume, Volume
from pachyderm_dagster.argo.parameters import KeyRef
from pachyderm_dagster.argo.pod_paths import Mount
from pachyderm_dagster.argo.pods import Pod
from pachyderm_dagster.errors import NotFoundError

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


def mounts_of(pod: Pod, own: Path, of_run: Path, staying: Path) -> tuple[Mount, ...]:
    """What the container of a pod mounts; folders of volumes are made.

    Args:
        own: where the volumes of this pod alone are.
        of_run: where those of the workflow's claim templates are.
        staying: where those are that outlive it.

    Raises:
        NotFoundError: `volume-not-found`, `claim-not-found`, `config-map-not-found`, `workflow-secret-not-found`.
    """
    container = pod.template.container or pod.template.script
    volumes = {volume.name: volume for volume in pod.volumes}
    found = []
    for mount in container.volume_mounts if container else ():
        if mount.name in pod.claims:
            folder = of_run / mount.name
            folder.mkdir(parents=True, exist_ok=True)
        elif mount.name in volumes:
            folder = _folder(volumes[mount.name], pod, own, of_run, staying)
        else:
            raise NotFoundError(
                "volume-not-found", f"the container mounts the volume {mount.name!r}, which is not among those that there are; add it to 'volumes'"
            )
        if mount.sub_path:
            folder = folder / mount.sub_path
            if not folder.exists():
                folder.mkdir(parents=True)
        found.append(Mount(str(folder), "/" + mount.mount_path.strip("/"), not mount.read_only))
    return tuple(sorted(found, key=lambda mount: mount.path))


def _folder(volume: Volume, pod: Pod, own: Path, of_run: Path, staying: Path) -> Path:
    if volume.persistent_volume_claim is not None:
        name = volume.persistent_volume_claim.claim_name
        if (of_run / name).is_dir():
            return of_run / name
        if not (staying / name).is_dir():
            raise NotFoundError(
                "claim-not-found", f"there is no volume for the claim {name!r}; make the folder {staying / name}, and put in it what is to be there"
            )
        return staying / name
    folder = own / volume.name
    folder.mkdir(parents=True, exist_ok=True)
    if volume.config_map is not None:
        _fill(folder, volume.config_map, volume.config_map.name, pod.config_maps, is_secret=False)
    if volume.secret is not None:
        _fill(folder, volume.secret, volume.secret.secret_name, pod.secrets, is_secret=True)
    return folder


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
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(found[key])
