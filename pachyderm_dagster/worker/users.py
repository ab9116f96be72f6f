"""Another user than the worker's, for user code to run as."""

import contextlib
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.kernel import MOST_USER_NUMBER
from pachyderm_dagster.worker import linux

ROOT_ID = 0


@dataclass(frozen=True, slots=True)
class User:
    """Ids of a user, its first group and all its groups, and the variables that name it."""

    id: int
    group: int
    groups: tuple[int, ...]
    variables: tuple[tuple[str, str], ...]


@contextlib.contextmanager
def reaching_files_as(user: User | None) -> Iterator[None]:
    """Within the block this thread reaches the files that the user reaches, and no others: links that user code left lead nowhere that it could not go itself.

    The groups are those of the process, which must be the user's already.
    """
    if user is None:
        yield
        return
    linux.set_file_ids(user.id, user.group)
    try:
        yield
    finally:
        linux.set_file_ids(ROOT_ID, ROOT_ID)


def find_user(name: str, *, own_id: int) -> User | None:
    """The user of that name or number; None when it is the worker's own, whose number is `own_id`.

    Raises:
        ExecutionError: `user-invalid`, when there is no such user, or only root may run code as it.
    """
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        entry = None
    if entry is not None:
        groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
        found = User(entry.pw_uid, entry.pw_gid, groups, (("HOME", entry.pw_dir), ("USER", entry.pw_name), ("LOGNAME", entry.pw_name)))
    elif name.isdecimal() and int(name) <= MOST_USER_NUMBER:
        # A number needs no entry; its group is then that of the same number.
        found = User(int(name), int(name), (int(name),), (("HOME", "/"),))
    else:
        raise ExecutionError("user-invalid", f"transform.user {name!r} does not exist on this machine; name one of its users, or a number")
    if found.id == own_id:
        return None
    if own_id != ROOT_ID:
        way_out = "run the jobs as root, or remove transform.user"
        raise ExecutionError(
            "user-invalid", f"transform.user {name!r} is not the user that runs this worker (number {own_id}), and only root may change to it; {way_out}"
        )
    return found
