"""What a pod runs: containers, their environment, and volumes."""

import msgspec

from pachyderm_dagster.argo.parameters import KeyRef, Plain, Text, Texts


class FieldRef(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a pod knows of itself."""

    field_path: str
    """`metadata.name`, `metadata.namespace`, `spec.nodeName`, `status.podIP` and their like."""


class EnvFrom(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where the value of a variable comes from."""

    secret_key_ref: KeyRef | None = None
    """A key of a Secret."""
    config_map_key_ref: KeyRef | None = None
    """A key of a ConfigMap."""
    field_ref: FieldRef | None = None
    """What the pod knows of itself."""
    resource_field_ref: Plain | None = None
    """On a cluster: what the container requests, or has at most."""


class EnvVar(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An environment variable."""

    name: str
    """Its name."""
    value: Text | None = None
    """Its value; empty without it."""
    value_from: EnvFrom | None = None
    """Where its value comes from."""


class Source(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A ConfigMap or Secret by name."""

    name: str
    """Its name."""
    optional: bool = False
    """It may be missing."""


class EnvSource(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """All keys of a ConfigMap or Secret as variables."""

    config_map_ref: Source | None = None
    """The ConfigMap."""
    secret_ref: Source | None = None
    """The Secret."""
    prefix: str = ""
    """What the names of the variables begin with."""


class VolumeMount(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where a container sees a volume."""

    name: str
    """The name of the volume."""
    mount_path: str
    """An absolute folder."""
    sub_path: str = ""
    """A folder of the volume, instead of all of it."""
    sub_path_expr: str = ""
    """On a cluster: the same, with variables of the container."""
    mount_propagation: str = ""
    """Whether what is mounted there later is seen elsewhere."""
    recursive_read_only: str = ""
    """Whether nothing is written either to what is mounted below."""
    read_only: bool = False
    """Nothing is written there."""


class Container(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A program in an image."""

    image: str
    """The image; on one machine it says only which program there is without `command`."""
    name: str = ""
    """The name of the container."""
    command: tuple[str, ...] = ()
    """The program; that of the image without it."""
    args: Texts = ()
    """What follows it."""
    env: tuple[EnvVar, ...] = ()
    """Environment variables."""
    env_from: tuple[EnvSource, ...] = ()
    """ConfigMaps and Secrets whose keys are variables."""
    working_dir: str = ""
    """Where it starts."""
    volume_mounts: tuple[VolumeMount, ...] = ()
    """The volumes that it sees."""
    volume_devices: tuple[Plain, ...] = ()
    """On a cluster: the block devices that it sees."""
    image_pull_policy: str = ""
    """When the image is pulled."""
    resources: Plain | None = None
    """What it requests of a node, and may have at most."""
    security_context: Plain | None = None
    """User, group and rights of its processes."""
    ports: tuple[Plain, ...] = ()
    """Ports that it listens on."""
    lifecycle: Plain | None = None
    """What is run when it was started, and before it is ended."""
    liveness_probe: Plain | None = None
    """What tells that it has to be started again."""
    startup_probe: Plain | None = None
    """What tells that it was started."""
    termination_message_path: str = ""
    """Where it leaves a message about its end."""
    termination_message_policy: str = ""
    """What else such a message may be."""
    stdin: bool = False
    """Its standard input stays open."""
    tty: bool = False
    """It has a terminal."""
    readiness_probe: Plain | None = None
    """Of a daemon: what tells that it is ready (`httpGet`, `tcpSocket` or `exec`); it is when it was started without it."""


class UserContainer(Container, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A program beside the one of a template."""

    mirror_volume_mounts: bool = False
    """It sees the volumes that the main container sees, at the same places."""


class SetContainer(Container, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One of several programs of a pod."""

    dependencies: tuple[str, ...] = ()
    """The containers that must have succeeded before it starts."""


class SetRetry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How often a container of a set is tried again."""

    retries: Text
    """Attempts beyond the first."""
    duration: Text = ""
    """Between them: `30s`."""


class ContainerSet(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Several programs in one pod, each with a root of its own; they share volumes. Outputs are those of the one called `main`."""

    containers: tuple[SetContainer, ...]
    """They, in any order."""
    volume_mounts: tuple[VolumeMount, ...] = ()
    """The volumes that all of them see."""
    retry_strategy: SetRetry | None = None
    """How often each is tried again."""


class Script(Container, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A program that is given a file to run."""

    source: str = ""
    """The text of the file, whose path is the last argument of the command."""


class Claim(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A volume that stays."""

    claim_name: str
    """The name of a claim template of the workflow, or of a folder below `argo/claims` in the home."""
    read_only: bool = False
    """Nothing is written there."""


class KeyPath(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where a key of a ConfigMap or Secret is a file."""

    key: str
    """The key."""
    path: str
    """The path of the file, below the mount."""
    mode: int | None = None
    """Permission bits of the file."""


class ConfigVolume(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The keys of a ConfigMap, or of a Secret, as files."""

    name: str
    """Its name."""
    items: tuple[KeyPath, ...] = ()
    """Those that are there, all without it."""
    optional: bool = False
    """It may be missing."""
    default_mode: int | None = None
    """Permission bits of the files."""


class DownwardFile(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A file with what the pod knows of itself."""

    path: str
    """The path of the file, below the mount."""
    field_ref: FieldRef | None = None
    """What is in it."""
    resource_field_ref: Plain | None = None
    """On a cluster: what a container requests, or has at most, instead."""
    mode: int | None = None
    """Permission bits of the file."""


class DownwardVolume(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the pod knows of itself as files."""

    items: tuple[DownwardFile, ...] = ()
    """They."""
    default_mode: int | None = None
    """Permission bits of the files."""


class ProjectedSource(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Files of a volume that has some of several kinds; one kind is given."""

    config_map: ConfigVolume | None = None
    """Files from a ConfigMap."""
    secret: ConfigVolume | None = None
    """Files from a Secret."""
    downward_api: DownwardVolume | None = msgspec.field(name="downwardAPI", default=None)
    """What the pod knows of itself."""
    service_account_token: Plain | None = None
    """On a cluster: a token of the pod's account."""


class ProjectedVolume(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Files of several kinds in one folder."""

    sources: tuple[ProjectedSource, ...] = ()
    """Where they come from."""
    default_mode: int | None = None
    """Permission bits of the files."""


class SecretVolume(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The keys of a Secret as files."""

    secret_name: str
    """The name of the Secret."""
    items: tuple[KeyPath, ...] = ()
    """Those that are there, all without it."""
    optional: bool = False
    """It may be missing."""
    default_mode: int | None = None
    """Permission bits of the files."""


class EmptyDir(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A folder that is empty when the pod starts."""

    medium: str = ""
    """On a cluster: `Memory` for one that is no disk's."""
    size_limit: Text | None = None
    """On a cluster: how much it holds."""


class Volume(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A folder that containers see by its name; one of the kinds is given."""

    name: str
    """Its name."""
    empty_dir: EmptyDir | None = None
    """Empty when the pod starts."""
    persistent_volume_claim: Claim | None = None
    """It stays, and other pods see it too."""
    config_map: ConfigVolume | None = None
    """Files from a ConfigMap."""
    secret: SecretVolume | None = None
    """Files from a Secret."""
    projected: ProjectedVolume | None = None
    """Files of several kinds in one folder."""
    downward_api: DownwardVolume | None = msgspec.field(name="downwardAPI", default=None)
    """What the pod knows of itself."""
    host_path: Plain | None = None
    """On a cluster: a folder of the node."""
    ephemeral: Plain | None = None
    """On a cluster: a claim that is made for the pod."""
    csi: Plain | None = None
    """On a cluster: what a driver gives."""
    nfs: Plain | None = None
    """On a cluster: a folder of a server of files."""
    image: Plain | None = None
    """On a cluster: the files of an image."""
    iscsi: Plain | None = None
    """On a cluster: a disk of a server."""
    fc: Plain | None = None
    """On a cluster: a disk of a storage network."""
    cephfs: Plain | None = None
    """On a cluster: a folder of Ceph."""
    git_repo: Plain | None = None
    """On a cluster that still has it: the files of a commit of Git."""


CLUSTER_VOLUMES = {
    "host_path": "hostPath",
    "ephemeral": "ephemeral",
    "csi": "csi",
    "nfs": "nfs",
    "image": "image",
    "iscsi": "iscsi",
    "fc": "fc",
    "cephfs": "cephfs",
    "git_repo": "gitRepo",
}
"""Kinds of volumes that this machine has none of: the fields, with their names in files."""


class ObjectName(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What an object is called."""

    name: str
    """Its name."""


class ClaimTemplate(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A volume that is made for each workflow and goes when it has succeeded."""

    metadata: ObjectName
    """Its name, by which containers mount it."""
    spec: Plain = {}
    """On a cluster: what it asks for; on one machine it is a folder."""
