"""The settings in force and where each came from; the only module that reads or writes them.

Order: environment variable, `config.toml` in the home (the same keys), default.
"""

import json
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
PROJECT = "PACHYDERM_PROJECT"
DAGSTER_HOME = "DAGSTER_HOME"
SQL_PASSWORD = "PACHYDERM_SQL_PASSWORD"
ETCD_VARIABLES = ("ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY", "ETCDCTL_USER", "ETCDCTL_PASSWORD")
"""Those of etcd's own command line that count here too."""
CONFIG_FILE = "config.toml"
EXECUTORS = ("local", "kubernetes")


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and its origin: `environment`, `config.toml` or `default`."""

    value: str
    origin: str


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
    sql_password: str | None = field(default=None, repr=False)
    """For databases that output is sent to. From the environment only, and shown nowhere."""
    etcd: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Those of ETCD_VARIABLES that are set. From the environment only, and shown nowhere."""


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Reads the settings from `environ` and the home's `config.toml`.

    Raises:
        InvalidError: `config-invalid`, when the file does not parse or holds an unknown key or value.
    """
    if "\0" in environ.get(HOME, ""):
        raise InvalidError("config-invalid", f"{HOME} is {environ[HOME]!r}, and no folder's name has a NUL")
    home = Path(environ.get(HOME) or "~/.pachyderm-dagster").expanduser().absolute()
    file = _read_config(home / CONFIG_FILE)
    defaults = {
        METADATA_URL: f"sqlite:///{home / 'metadata.db'}",
        STORAGE_URL: (home / "objects").as_uri(),
        COORDINATION_URL: "database://",
        EXECUTOR: "local",
        PROJECT: "default",
        DAGSTER_HOME: str(home / "dagster"),
    }
    found = {HOME: Setting(str(home), "environment" if environ.get(HOME) else "default")}
    for key, default in defaults.items():
        found[key] = _choose(key, environ, file, default)
    executor = found[EXECUTOR].value
    if executor not in EXECUTORS:
        raise InvalidError("config-invalid", f"{EXECUTOR} is {executor!r} ({found[EXECUTOR].origin}); it takes {' or '.join(EXECUTORS)}")
    return Settings(
        home=home,
        metadata_url=found[METADATA_URL].value,
        storage_url=found[STORAGE_URL].value,
        coordination_url=found[COORDINATION_URL].value,
        executor=executor,
        project=found[PROJECT].value,
        dagster_home=Path(found[DAGSTER_HOME].value).expanduser().absolute(),
        origins=found,
        sql_password=environ.get(SQL_PASSWORD) or None,
        etcd={name: environ[name] for name in ETCD_VARIABLES if environ.get(name)},
    )


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
    known = (METADATA_URL, STORAGE_URL, COORDINATION_URL, EXECUTOR, PROJECT, DAGSTER_HOME)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidError("config-invalid", f"{path} does not parse: {error}; correct the file or remove it") from error
    for key, value in values.items():
        if key not in known or not isinstance(value, str):
            raise InvalidError("config-invalid", f"{path} has {key} = {value!r}; it takes strings under {', '.join(known)}")
    return dict(values)
