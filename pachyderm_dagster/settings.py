"""The settings in force and where each came from; the only module that reads or writes them.

Order: environment variable, `config.toml` in the home (the same keys), default.
"""

import json
import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pachyderm_dagster.errors import InvalidError, StorageError

HOME = "PACHYDERM_HOME"
METADATA_URL = "PACHYDERM_METADATA_URL"
STORAGE_URL = "PACHYDERM_STORAGE_URL"
COORDINATION_URL = "PACHYDERM_COORDINATION_URL"
EXECUTOR = "PACHYDERM_EXECUTOR"
OBJECTS = "PACHYDERM_OBJECTS"
PROJECT = "PACHYDERM_PROJECT"
LOG_FORMAT = "PACHYDERM_LOG_FORMAT"
DAGSTER_HOME = "DAGSTER_HOME"
KUBECONFIG = "KUBECONFIG"
KUBERNETES_CONTEXT = "PACHYDERM_KUBERNETES_CONTEXT"
KUBERNETES_NAMESPACE = "PACHYDERM_KUBERNETES_NAMESPACE"
KUBERNETES_WORKER_IMAGE = "PACHYDERM_KUBERNETES_WORKER_IMAGE"
KUBERNETES_PULL_POLICY = "PACHYDERM_KUBERNETES_IMAGE_PULL_POLICY"
KUBERNETES_STORAGE_SECRET = "PACHYDERM_KUBERNETES_STORAGE_SECRET"
KUBERNETES_SERVICE_ACCOUNT = "PACHYDERM_KUBERNETES_SERVICE_ACCOUNT"
KUBERNETES_COORDINATION_URL = "PACHYDERM_KUBERNETES_COORDINATION_URL"
KUBERNETES_COOLDOWN_SECONDS = "PACHYDERM_KUBERNETES_COOLDOWN_SECONDS"
KUBERNETES_SPOUT_SECRET = "PACHYDERM_KUBERNETES_SPOUT_SECRET"
KUBERNETES_OWNER = "PACHYDERM_KUBERNETES_OWNER"
NEVER = "never"
"""In the place of a number of seconds."""
SQL_PASSWORD = "PACHYDERM_SQL_PASSWORD"
IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
"""Kubernetes sets it in every pod."""
ETCD_VARIABLES = ("ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY", "ETCDCTL_USER", "ETCDCTL_PASSWORD")
"""Those of etcd's own command line that count here too."""
CONFIG_FILE = "config.toml"
EXECUTORS = ("local", "kubernetes")
HOME_OBJECTS, CLUSTER_OBJECTS = "home", "cluster"
LOG_FORMATS = ("text", "json")
PULL_POLICIES = ("IfNotPresent", "Always", "Never")
_ETCD = "etcd://"
_NAMESPACE = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_STORES_OF_PODS = ("s3://", "gs://", "az://")
_KUBERNETES_DEFAULTS = {
    KUBECONFIG: "",
    KUBERNETES_CONTEXT: "",
    KUBERNETES_NAMESPACE: "default",
    KUBERNETES_WORKER_IMAGE: "",
    KUBERNETES_PULL_POLICY: "IfNotPresent",
    KUBERNETES_STORAGE_SECRET: "",
    KUBERNETES_SERVICE_ACCOUNT: "default",
    KUBERNETES_COORDINATION_URL: "",
    KUBERNETES_COOLDOWN_SECONDS: "300",
    KUBERNETES_SPOUT_SECRET: "",
    KUBERNETES_OWNER: "",
}
_IN_FILE = (METADATA_URL, STORAGE_URL, COORDINATION_URL, EXECUTOR, OBJECTS, PROJECT, DAGSTER_HOME, *_KUBERNETES_DEFAULTS)


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and its origin: `environment`, `config.toml` or `default`."""

    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """Where pods run and what ours are made of.

    Args:
        kubeconfig: files of it, as `kubectl` takes them; empty for `~/.kube/config`, or, without that, for the cluster that this process is in.
        context: of the kubeconfig; empty for its current one.
        worker_image: the image with this package that runs beside user code.
        pull_policy: of that image and of those of pipelines.
        storage_secret: name of the Secret whose keys are the variables that the worker opens the store with; empty for none.
        service_account: of the pods.
        coordination_url: the etcd of the home, as pods reach it, where their workers claim datum sets; empty when they do so in the store.
        cooldown_seconds: after so long without a job there are no more workers of a pipeline whose workers stay; infinite for never.
        spout_secret: name of the Secret whose keys are the variables with which the code of spouts reaches record and store; empty: there are no spouts.
        owner: NAME/UID of the pod of this process, where the home goes with it: what workflows make on the cluster goes then too; empty: it stays.
    """

    kubeconfig: str
    context: str
    namespace: str
    worker_image: str
    pull_policy: str
    storage_secret: str
    service_account: str
    coordination_url: str = ""
    cooldown_seconds: float = 300.0
    spout_secret: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is in force for one home."""

    home: Path
    metadata_url: str
    storage_url: str
    coordination_url: str
    executor: str
    project: str
    """Of names that have none."""
    dagster_home: Path
    origins: Mapping[str, Setting]
    objects: str = HOME_OBJECTS
    """Which Deployments and other objects workflows act on: HOME_OBJECTS or CLUSTER_OBJECTS."""
    log_format: str = "text"
    """What processes of servers print: one of LOG_FORMATS. From the environment only."""
    kubernetes: KubernetesSettings | None = None
    """Of the executor `kubernetes` only."""
    sql_password: str | None = field(default=None, repr=False)
    """For databases that output is sent to. From the environment only, and shown nowhere."""
    etcd: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Those of ETCD_VARIABLES that are set. From the environment only, and shown nowhere."""


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Reads the settings from `environ` and the home's `config.toml`.

    Raises:
        InvalidError: `config-invalid`, when the file does not parse or holds an unknown key or value, or pods could not use what is set.
    """
    if "\0" in environ.get(HOME, ""):
        raise InvalidError("config-invalid", f"{HOME} is {environ[HOME]!r}, and no folder's name has a NUL")
    home = _home(environ)
    file = _read_config(home / CONFIG_FILE)
    defaults = {
        METADATA_URL: f"sqlite:///{home / 'metadata.db'}",
        STORAGE_URL: (home / "objects").as_uri(),
        COORDINATION_URL: "database://",
        EXECUTOR: "local",
        OBJECTS: "",
        PROJECT: "default",
        DAGSTER_HOME: str(home / "dagster"),
    }
    found = {HOME: Setting(str(home), "environment" if environ.get(HOME) else "default")}
    for key, default in defaults.items():
        found[key] = _choose(key, environ, file, default)
    executor = found[EXECUTOR].value
    if executor not in EXECUTORS:
        raise InvalidError("config-invalid", f"{EXECUTOR} is {executor!r} ({found[EXECUTOR].origin}); it takes {' or '.join(EXECUTORS)}")
    found[OBJECTS] = _objects(found[OBJECTS], environ, file, executor)
    log_format = environ.get(LOG_FORMAT) or LOG_FORMATS[0]
    if log_format not in LOG_FORMATS:
        raise InvalidError("config-invalid", f"{LOG_FORMAT} is {log_format!r}; it takes {' or '.join(LOG_FORMATS)}")
    if executor == "kubernetes":
        found |= {key: _choose(key, environ, file, default) for key, default in _KUBERNETES_DEFAULTS.items()}
    return Settings(
        home=home,
        metadata_url=found[METADATA_URL].value,
        storage_url=found[STORAGE_URL].value,
        coordination_url=found[COORDINATION_URL].value,
        executor=executor,
        objects=found[OBJECTS].value,
        project=found[PROJECT].value,
        dagster_home=Path(found[DAGSTER_HOME].value).expanduser().absolute(),
        origins=found,
        log_format=log_format,
        kubernetes=_kubernetes(found) if executor == "kubernetes" else None,
        sql_password=environ.get(SQL_PASSWORD) or None,
        etcd={name: environ[name] for name in ETCD_VARIABLES if environ.get(name)},
    )


def load_cluster(environ: Mapping[str, str], *, namespace: str | None = None, context: str | None = None) -> KubernetesSettings:
    """How a cluster is reached, whatever runs pipelines; `namespace` and `context` win over the settings.

    Raises:
        InvalidError: `config-invalid`, when the home's `config.toml` does not parse.
    """
    file = _read_config(_home(environ) / CONFIG_FILE)
    values = {key: _choose(key, environ, file, default).value for key, default in _KUBERNETES_DEFAULTS.items()}
    given = {KUBERNETES_NAMESPACE: namespace, KUBERNETES_CONTEXT: context}
    return _as_kubernetes(values | {key: value for key, value in given.items() if value})


def save_setting(home: Path, key: str, value: str) -> None:
    """Writes one setting into the home's `config.toml`; the rest of the file stays as it is.

    Raises:
        InvalidError: `config-invalid`, when the file does not parse.
        StorageError: `home-unusable`.
    """
    path = home / CONFIG_FILE
    _read_config(path)
    line = f"{key} = {json.dumps(value)}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        before = path.read_text().splitlines() if path.exists() else []
        others = [old for old in before if not re.match(rf"\s*[\"']?{key}\b", old)]
        new = path.with_suffix(".new")
        new.write_text("\n".join([*others, line]) + "\n")
        os.replace(new, path)
    except OSError as error:
        raise StorageError("home-unusable", f"{path} cannot be written: {error.strerror}; set PACHYDERM_HOME to a folder that you can write") from error


def _objects(given: Setting, environ: Mapping[str, str], file: Mapping[str, str], executor: str) -> Setting:
    """Which objects workflows act on. Without a word those of the cluster that can be told, be it reached or not."""
    if not given.value:
        config = Path("~/.kube/config").expanduser()
        has_cluster = executor == "kubernetes" or _choose(KUBECONFIG, environ, file, "").value or environ.get(IN_CLUSTER) or config.exists()
        return Setting(CLUSTER_OBJECTS if has_cluster else HOME_OBJECTS, "default")
    if given.value not in (HOME_OBJECTS, CLUSTER_OBJECTS):
        raise InvalidError("config-invalid", f"{OBJECTS} is {given.value!r} ({given.origin}); it takes {HOME_OBJECTS} or {CLUSTER_OBJECTS}")
    if given.value == HOME_OBJECTS and executor == "kubernetes":
        problem = f"{OBJECTS} is {given.value!r} ({given.origin}), and {EXECUTOR} is {executor!r}"
        raise InvalidError("config-invalid", f"{problem}; pods of a cluster reach its objects only: leave {OBJECTS} out")
    return given


def _kubernetes(found: Mapping[str, Setting]) -> KubernetesSettings:
    values = {key: found[key].value for key in _KUBERNETES_DEFAULTS}
    if not values[KUBERNETES_WORKER_IMAGE]:
        problem = f"{EXECUTOR} is 'kubernetes' ({found[EXECUTOR].origin}) and {KUBERNETES_WORKER_IMAGE} is not set"
        raise InvalidError("config-invalid", f"{problem}; it names the image with this package that runs beside user code")
    namespace = found[KUBERNETES_NAMESPACE]
    if not re.fullmatch(_NAMESPACE, namespace.value):
        problem = f"{KUBERNETES_NAMESPACE} is {namespace.value!r} ({namespace.origin}), which no namespace is called"
        raise InvalidError("config-invalid", f"{problem}; it takes up to 63 small letters, digits and '-', with a letter or digit first and last")
    if values[KUBERNETES_PULL_POLICY] not in PULL_POLICIES:
        policy = f"{KUBERNETES_PULL_POLICY} is {values[KUBERNETES_PULL_POLICY]!r} ({found[KUBERNETES_PULL_POLICY].origin})"
        raise InvalidError("config-invalid", f"{policy}; it takes {', '.join(PULL_POLICIES)}")
    store = found[STORAGE_URL]
    if not store.value.startswith(_STORES_OF_PODS):
        problem = f"{STORAGE_URL} is {store.value!r} ({store.origin}), which pods cannot reach"
        raise InvalidError("config-invalid", f"{problem}; under {EXECUTOR}=kubernetes it takes {', '.join(_STORES_OF_PODS)}")
    there, here = values[KUBERNETES_COORDINATION_URL], found[COORDINATION_URL]
    if there and not (there.startswith(_ETCD) and here.value.startswith(_ETCD)):
        problem = f"{KUBERNETES_COORDINATION_URL} is set, and {COORDINATION_URL} is {here.value!r} ({here.origin})"
        raise InvalidError("config-invalid", f"{problem}; both take etcd://HOST:PORT, and name the same etcd: as pods reach it, and as this process does")
    if "@" in there:
        # The text is not shown: it holds a password.
        problem = f"{KUBERNETES_COORDINATION_URL} has a user, and is written for workers into the store of the home"
        secret = f"set ETCDCTL_USER and ETCDCTL_PASSWORD in the Secret of {KUBERNETES_STORAGE_SECRET}"
        raise InvalidError("config-invalid", f"{problem}; {secret}, and leave them out of the URL")
    owner = found[KUBERNETES_OWNER]
    if owner.value and not re.fullmatch(r"[^/]+/[^/]+", owner.value):
        raise InvalidError("config-invalid", f"{KUBERNETES_OWNER} is {owner.value!r} ({owner.origin}); it takes the name and the uid of a pod, as NAME/UID")
    cooldown = found[KUBERNETES_COOLDOWN_SECONDS]
    if find_seconds(cooldown.value) is None:
        problem = f"{KUBERNETES_COOLDOWN_SECONDS} is {cooldown.value!r} ({cooldown.origin})"
        raise InvalidError("config-invalid", f"{problem}; it takes a number of seconds, such as 300, or {NEVER}")
    return _as_kubernetes(values)


def find_seconds(text: str) -> float | None:
    """A number of seconds, infinite for NEVER; None for what is neither."""
    if text == NEVER:
        return math.inf
    return float(text) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII) else None


def _as_kubernetes(values: Mapping[str, str]) -> KubernetesSettings:
    return KubernetesSettings(
        kubeconfig=values[KUBECONFIG],
        context=values[KUBERNETES_CONTEXT],
        namespace=values[KUBERNETES_NAMESPACE],
        worker_image=values[KUBERNETES_WORKER_IMAGE],
        pull_policy=values[KUBERNETES_PULL_POLICY],
        storage_secret=values[KUBERNETES_STORAGE_SECRET],
        service_account=values[KUBERNETES_SERVICE_ACCOUNT],
        coordination_url=values[KUBERNETES_COORDINATION_URL],
        cooldown_seconds=find_seconds(values[KUBERNETES_COOLDOWN_SECONDS]) or 0.0,
        spout_secret=values[KUBERNETES_SPOUT_SECRET],
        owner=values[KUBERNETES_OWNER],
    )


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get(HOME) or "~/.pachyderm-dagster").expanduser().absolute()


def _choose(key: str, environ: Mapping[str, str], file: Mapping[str, str], default: str) -> Setting:
    if environ.get(key):
        return Setting(environ[key], "environment")
    if key in file:
        return Setting(file[key], CONFIG_FILE)
    return Setting(default, "default")


def _read_config(path: Path) -> dict[str, str]:
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError("config-invalid", f"{path} cannot be read: {error}; correct the file or remove it") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidError("config-invalid", f"{path} does not parse: {error}; correct the file or remove it") from error
    for key, value in values.items():
        if key not in _IN_FILE or not isinstance(value, str):
            raise InvalidError("config-invalid", f"{path} has {key} = {value!r}; it takes strings under {', '.join(_IN_FILE)}")
    return dict(values)
