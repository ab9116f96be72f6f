"""Opens a home for a Python program."""

import os
from collections.abc import Mapping
from pathlib import Path

from pachyderm_dagster.client.client import Client
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, checked_project_name
from pachyderm_dagster.settings import HOME
from pachyderm_dagster.workspace import open_workspace


def connect(home: str | Path | None = None, *, project: str = DEFAULT_PROJECT, environ: Mapping[str, str] | None = None) -> Client:
    """Opens a home, and makes it when there is none. A `with` block, or `Client.close`, lets go of it.

    ```python
    with connect() as client:
        client.create_repo("images")
        client.put_file("images@master:/hello.txt", b"hello")
    ```

    Args:
        home: the folder, as `PACHYDERM_HOME`; None takes the environment's, or `~/.pachyderm-dagster`.
        project: where repos are that are named without a project.
        environ: the settings, instead of the process's environment; what the home's `config.toml` says counts below them.

    Raises:
        InvalidError: `config-invalid`, `storage-url-invalid`, `name-invalid`.
        StateError: `home-version`.
        StorageError: `home-unusable`, `storage-format`.
        UnreachableError: `record-unreachable`, `storage-unreachable`.
    """
    settings = dict(os.environ if environ is None else environ)
    if home is not None:
        settings[HOME] = os.fspath(home)
    return Client(open_workspace(settings, project=checked_project_name(project)), project=project)
