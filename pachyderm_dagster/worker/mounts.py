"""What is mounted for user code alone, inside the private mount namespace: folders of the machine again, and secrets, which are on no disk."""

import os
from collections.abc import Mapping

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.worker import linux

_ASIDE = "/.aside"


def bind_entries(source: str, target: str, *, leave_out: str | None = None) -> None:
    """Makes the entries of the folder `source` appear in the empty folder `target`."""
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.name != leave_out:
                _bind_entry(entry, os.path.join(target, entry.name))


def mount_secrets(secret_files: Mapping[str, Mapping[str, bytes]]) -> None:
    """Makes folders of files that are in memory only, for this namespace only, and that nobody can write.

    Args:
        secret_files: by absolute path of a folder its files by name. What is there on the machine is hidden; a folder that is not there is made for this
            namespace alone.

    Raises:
        ExecutionError: `secret-not-mounted`.
    """
    for path, files in secret_files.items():
        try:
            _mount_files(path, files)
        except OSError as error:
            # Of mount(2) the error's text names the call; of files it has a name of its own.
            problem = f"a secret cannot be mounted at {path}: {error.strerror}; choose another mount_path, or use env_var"
            raise ExecutionError("secret-not-mounted", problem) from error


def _mount_files(path: str, files: Mapping[str, bytes]) -> None:
    folder = os.path.realpath(path)
    _make_folder(folder)
    linux.mount("tmpfs", folder, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC, "mode=0755")
    for name, data in files.items():
        descriptor = os.open(os.path.join(folder, name), os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o444)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o444)
            file.write(data)
    linux.mount("tmpfs", folder, None, linux.MS_REMOUNT | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)


def _make_folder(folder: str) -> None:
    """Makes a folder appear in this namespace, not on the machine."""
    existing = folder
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    # The root is this namespace's own already.
    if existing != folder and os.stat(existing).st_dev != os.stat("/").st_dev:
        _cover(existing)
    os.makedirs(folder, exist_ok=True)


def _cover(folder: str) -> None:
    """Puts a folder of this namespace's own, with the same entries, in the place of one of the machine."""
    os.mkdir(_ASIDE)
    linux.mount(folder, _ASIDE, flags=linux.MS_BIND | linux.MS_REC)
    mode = os.stat(folder).st_mode & 0o7777
    linux.mount("tmpfs", folder, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, f"mode={mode:04o}")
    bind_entries(_ASIDE, folder)
    linux.detach(_ASIDE)
    os.rmdir(_ASIDE)


def _bind_entry(entry: os.DirEntry[str], target: str) -> None:
    if entry.is_symlink():
        os.symlink(os.readlink(entry.path), target)
        return
    if entry.is_dir(follow_symlinks=False):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    linux.mount(entry.path, target, flags=linux.MS_BIND | linux.MS_REC)
