"""The secrets of a home: a file each, which nobody but the home's owner may read. They are in no record, object or log."""

import contextlib
import datetime as dt
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from pachyderm_dagster.errors import ExistsError, InvalidError, NotFoundError, StorageError
from pachyderm_dagster.pps.object_names import NAME_RULE, is_object_name
from pachyderm_dagster.pps.spec import PipelineSpec, SecretUse

FOLDER = "secrets"
_SUFFIX = ".json"
_KEY = re.compile(r"[A-Za-z0-9._-]+")
_MOST_NAME_CHARACTERS = 240
"""It is the name of a file too."""
_MOST_BYTES = 1 << 20


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """Values that nobody is to see, by key. It does not show them in its `repr`.

    Args:
        type: Kubernetes' word for what it is; nothing here depends on it.
    """

    name: str
    created: dt.datetime
    data: dict[str, bytes]
    type: str = "Opaque"

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, keys={sorted(self.data)})"


class SecretStore:
    """Makes, shows and removes secrets in `home`.

    Args:
        beside_cluster: code may use secrets of a cluster too, about which nothing is known here.
    """

    def __init__(self, home: Path, *, beside_cluster: bool = False) -> None:
        self._folder = home / FOLDER
        self._beside_cluster = beside_cluster

    def create(self, secret: Secret) -> None:
        """Keeps a secret.

        Raises:
            InvalidError: `secret-invalid`: its name, a key or its size is not what Kubernetes takes.
            ExistsError: `secret-exists`.
            StorageError: `home-unusable`.
        """
        _check(secret)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            # Made with the mode 0600. Linked when it is whole, which a file of that name refuses.
            descriptor, new = tempfile.mkstemp(dir=self._folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(msgspec.json.encode(secret))
                    file.flush()
                    os.fsync(file.fileno())
                os.link(new, self._path(secret.name))
            finally:
                os.unlink(new)
        except FileExistsError:
            way_out = f"`pachctl delete secret {secret.name}` first, or choose another name"
            raise ExistsError("secret-exists", f"secret '{secret.name}' exists already; {way_out}") from None
        except OSError as error:
            raise _unusable(self._folder, error) from error

    def get(self, name: str) -> Secret:
        """A secret with its values.

        Raises:
            NotFoundError: `secret-not-found`; the message names those that there are.
            StorageError: `home-unusable`.
        """
        try:
            # Names that no secret can have may be paths to elsewhere.
            data = self._path(name).read_bytes() if is_object_name(name, _MOST_NAME_CHARACTERS) else None
        except FileNotFoundError:
            data = None
        except OSError as error:
            raise _unusable(self._path(name), error) from error
        if data is None:
            raise NotFoundError("secret-not-found", f"secret '{name}' does not exist; {self._there_are()}")
        try:
            return msgspec.json.decode(data, type=Secret)
        except msgspec.MsgspecError:
            raise StorageError("home-unusable", f"{self._path(name)} is damaged; delete that secret and create it again") from None

    def names(self) -> list[str]:
        """The names of all secrets, sorted."""
        try:
            found = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unusable(self._folder, error) from error
        return sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX))

    def list_secret(self) -> list[Secret]:
        """All secrets, by name; those that go meanwhile are left out."""
        found = []
        for name in self.names():
            with contextlib.suppress(NotFoundError):
                found.append(self.get(name))
        return found

    def delete(self, name: str) -> None:
        """Removes a secret; pipelines that use it fail from then on. Errors as `get`."""
        self.get(name)
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(self._path(name), error) from error

    def check_uses(self, spec: PipelineSpec) -> None:
        """Whether all secrets and keys that a pipeline names are there; beside a cluster, one that is not here is taken for the cluster's.

        Raises:
            NotFoundError: `secret-not-found`, `secret-key-not-found`; the message says what there is.
        """
        elsewhere = {use.name for use in spec.transform.secrets} - set(self.names()) if self._beside_cluster else set()
        for use in spec.transform.secrets:
            if use.name not in elsewhere:
                _check_key(self.get(use.name), use.key)
        if spec.egress is not None and spec.egress.sql_database is not None and spec.egress.sql_database.secret is not None:
            self.text(spec.egress.sql_database.secret.name, spec.egress.sql_database.secret.key)

    def variables(self, uses: Iterable[SecretUse]) -> dict[str, str]:
        """The environment variables that a pipeline's secrets become. Errors as `check_uses`; InvalidError `secret-invalid` for a value that is no text."""
        return {use.env_var: self.text(use.name, use.key) for use in uses if use.env_var}

    def text(self, name: str, key: str) -> str:
        """The value under a key. Errors as `variables`."""
        secret = self.get(name)
        _check_key(secret, key)
        return _as_text(secret, key)

    def files(self, uses: Iterable[SecretUse]) -> dict[str, dict[str, bytes]]:
        """By mount path the files, by name, that a pipeline's secrets become. Errors as `check_uses`."""
        return {use.mount_path: self.get(use.name).data for use in uses if use.mount_path}

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{_SUFFIX}"

    def _there_are(self) -> str:
        names = self.names()
        return f"secrets: {', '.join(map(repr, names))}" if names else "there are none: `pachctl create secret -f FILE`"


def _check(secret: Secret) -> None:
    if not is_object_name(secret.name, _MOST_NAME_CHARACTERS):
        problem = f"{secret.name!r} cannot name a secret; it takes up to {_MOST_NAME_CHARACTERS} {NAME_RULE}"
        raise InvalidError("secret-invalid", problem)
    for key in secret.data:
        if key in (".", "..") or not _KEY.fullmatch(key):
            raise InvalidError("secret-invalid", f"secret '{secret.name}': {key!r} cannot be a key; it takes letters, digits, '-', '_' and '.'")
    size = sum(map(len, secret.data.values()))
    if size > _MOST_BYTES:
        raise InvalidError("secret-invalid", f"secret '{secret.name}' has {size} bytes; at most {_MOST_BYTES} are taken: put files into a repo")


def _check_key(secret: Secret, key: str) -> None:
    if key and key not in secret.data:
        keys = ", ".join(map(repr, sorted(secret.data))) or "none"
        raise NotFoundError("secret-key-not-found", f"secret '{secret.name}' has no key {key!r}; its keys: {keys}")


def _as_text(secret: Secret, key: str) -> str:
    try:
        text = secret.data[key].decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        problem = f"key {key!r} of secret '{secret.name}' is no text, so it cannot be an environment variable; give it a `mount_path`"
        raise InvalidError("secret-invalid", problem)
    return text


def _unusable(path: Path, error: OSError) -> StorageError:
    return StorageError("home-unusable", f"{path} cannot be used: {error.strerror}; it holds the secrets of this home, and belongs to whoever made them")
